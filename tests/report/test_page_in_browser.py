"""Report and comparison as a browser shows them, on a phone and a desktop, light and dark: nothing
overflows, words can be read, everything can be reached by keyboard. Marked ``browser``.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.frame.params_reader import read_params
from pipelines.report import compare
from pipelines.report.page import page
from tests.flows.browser import Browser

pytestmark = pytest.mark.browser
WIDTHS, SCHEMES = (390, 1280), ("light", "dark")

# Text whose contrast with what is behind it is below WCAG 2.2's 4.5 (3 where it is large), by its
# own formula; in SVG, `fill` is the colour. Texts of pictures' grey notes are asked for 3.
CONTRAST = """
const parse = text => { const found = text.match(/[\\d.]+/g).map(Number);
  return found.length === 3 ? [...found, 1] : found };
const light = ([r, g, b]) => { const line = value => { value /= 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4 };
  return 0.2126 * line(r) + 0.7152 * line(g) + 0.0722 * line(b) };
const behind = one => { for (; one; one = one.parentElement) {
    const colour = parse(getComputedStyle(one).backgroundColor);
    if (colour[3] > 0.99) return colour }
  return [255, 255, 255, 1] };
const poor = [];
for (const one of document.querySelectorAll('body *')) {
  const words = [...one.childNodes].some(node => node.nodeType === 3 && node.textContent.trim());
  if (!words || !one.checkVisibility()) continue;
  const style = getComputedStyle(one), drawn = one.closest('svg');
  const colour = parse(drawn ? style.fill : style.color);
  const [a, b] = [light(colour), light(behind(drawn ? drawn.parentElement : one))].sort();
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  const large = parseFloat(style.fontSize) >= 24;
  if (ratio < (drawn || large ? 3 : 4.5))
    poor.push(`${one.tagName} ${one.textContent.trim().slice(0, 40)} ${ratio.toFixed(2)}`);
}
return poor
"""
OVERFLOW = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
UNREACHED = """
return [...document.querySelectorAll('.wide, pre')].filter(one =>
  one.checkVisibility() && one.scrollWidth > one.clientWidth + 1 && one.tabIndex !== 0
).map(one => one.outerHTML.slice(0, 80))
"""


@pytest.fixture(scope="module")
def folder(reproduced: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both pages."""
    made = tmp_path_factory.mktemp("pages")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(reproduced)
        (made / "report.html").write_text(page(read_params()), encoding="utf-8")
        compare.main([".", "."])
        shutil.move("compare.html", made / "compare.html")
    return made


@pytest.fixture(params=[(width, scheme) for width in WIDTHS for scheme in SCHEMES], ids=str)
def browser(request: pytest.FixtureRequest, folder: Path) -> Iterator[Browser]:
    width, scheme = request.param
    opened = Browser(f"file://{folder}/", request.config.getoption("--pictures"))
    tell = opened.driver.execute_cdp_cmd
    tell(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500},
    )
    tell(
        "Emulation.setEmulatedMedia",
        {"features": [{"name": "prefers-color-scheme", "value": scheme}]},
    )
    opened.kind = f"{width}-{scheme}"
    yield opened
    opened.driver.quit()


@pytest.mark.parametrize("name", ["report", "compare"])
def test_a_page_fits_can_be_read_and_reached(browser, name):
    browser.open(f"{name}.html")
    run = browser.driver.execute_script
    run("for (const one of document.querySelectorAll('details')) one.open = true")
    assert run(OVERFLOW) <= 0
    assert run(CONTRAST) == []
    assert run(UNREACHED) == []
    browser.keep(f"{name}-{browser.kind}")


def test_the_page_s_own_colours_follow_the_scheme(browser):
    browser.open("report.html")
    colour = browser.driver.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (colour == "rgb(255, 255, 255)") == browser.kind.endswith("light")
