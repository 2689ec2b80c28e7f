"""Pictures of the README from this checkout's own run: ``python -m tests.report.pictures``.

Draws the page anew, opens it in Chromium and keeps its results as ``docs/pictures/report.png``.
"""

import base64
from pathlib import Path

from pipelines.report.page import PAGE, write_page
from tests.flows.browser import Browser

_WIDTH, _TALLEST = 1000, 680  # pixels
_TAKEN = {"report": "results"}  # file → id of the section's heading


def main() -> None:
    """Write the pictures."""
    write_page()
    browser = Browser(f"file://{Path().resolve()}/", None)
    tell = browser.driver.execute_cdp_cmd
    tell(
        "Emulation.setDeviceMetricsOverride",
        {"width": _WIDTH, "height": _TALLEST, "deviceScaleFactor": 1, "mobile": False},
    )
    browser.open(PAGE.name)
    for name, heading in _TAKEN.items():
        place = browser.driver.execute_script(
            f"return document.getElementById('{heading}').getBoundingClientRect().top + scrollY"
        )
        clip = {"x": 0, "y": place, "width": _WIDTH, "height": _TALLEST, "scale": 1}
        taken = tell("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
        Path(f"docs/pictures/{name}.png").write_bytes(base64.b64decode(taken["data"]))
    browser.driver.quit()


if __name__ == "__main__":
    main()
