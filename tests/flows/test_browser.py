"""Prefect's UI in a headless Chromium: a finished run, its tasks, its artifacts, the schedule. Marked ``browser``."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.common.exceptions import TimeoutException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from tests.flows.served import Server

pytestmark = pytest.mark.browser
_ARGUMENTS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking")
_NATURAL_WIDTHS = "return [...document.querySelectorAll('img')].map(one => one.naturalWidth)"


class Browser:
    """A window on the server's UI."""

    def __init__(self, server: Server, pictures: Path | None) -> None:
        options = webdriver.ChromeOptions()
        options.binary_location = _program("chromium", "google-chrome")
        for argument in (*_ARGUMENTS, "--window-size=1400,900"):
            options.add_argument(argument)
        self.driver = webdriver.Chrome(options=options, service=Service(_program("chromedriver")))
        self._base, self._pictures = f"http://127.0.0.1:{server.port}", pictures

    def open(self, path: str) -> None:
        self.driver.get(self._base + path)

    def says(self, *told: str) -> bool:
        """Whether the page says all this, within a minute."""
        body = (By.TAG_NAME, "body")
        if self._in_time(lambda: all(one in self.driver.find_element(*body).text for one in told)):
            return True
        print(f"{self.driver.current_url} says\n{self.driver.find_element(*body).text}")
        return False

    def shows_image(self, width: int) -> bool:
        """Whether the page shows an image that is so wide by itself, within a minute."""
        return self._in_time(lambda: any(one >= width for one in self.driver.execute_script(_NATURAL_WIDTHS)))

    def _in_time(self, reached: Callable[[], bool]) -> bool:
        try:
            return WebDriverWait(self.driver, 60).until(lambda driver: reached())
        except TimeoutException:
            return False

    def click(self, text: str) -> None:
        self.driver.find_element(By.XPATH, f"(//*[normalize-space(.)='{text}'])[last()]").click()

    def keep(self, name: str) -> None:
        if self._pictures:
            self.driver.save_screenshot(str(self._pictures / f"{name}.png"))


def _program(*names: str) -> str:
    found = [path for path in map(shutil.which, names) if path]
    assert found, f"one of {names} must be installed (Debian: chromium, chromium-driver)"
    return found[0]


@pytest.fixture
def browser(server: Server, request: pytest.FixtureRequest) -> Iterator[Browser]:
    folder = request.config.getoption("--pictures")
    opened = Browser(server, Path(folder) if folder else None)
    yield opened
    opened.driver.quit()


@pytest.fixture(scope="module")
def finished(server: Server) -> tuple[str, str]:
    """Id and name of a flow run that is through."""
    id = server.start()
    return id, server.wait(id, "Completed")["name"]


def test_a_finished_run_with_its_tasks_logs_and_artifacts(browser, finished):
    id, name = finished
    browser.open("/runs")
    assert browser.says("maskline", name, "Completed")
    browser.open(f"/runs/flow-run/{id}")
    assert browser.says(name, "Completed", "18 Task runs", "Running stage")
    browser.keep("flow-run")
    browser.click("Task Runs")
    assert browser.says("preflight", "plan", "corpus")
    browser.click("Artifacts")
    assert browser.says("graph", "results", "bleu", "seq2seq-loss")


@pytest.mark.parametrize(
    ("key", "told", "image_width"),
    [
        ("plan", ("seq2seq@gru", "stage corpus: new", "because"), 0),
        ("graph", ("seq2seq@gru", "Completed"), 1500),
        ("results", ("bert2bert", "BLEU"), 0),
        ("bleu", (), 500),
        ("seq2seq-loss", (), 500),
        ("progress-bert", ("100%",), 0),
    ],
)
def test_artifacts_are_shown_as_tables_and_pictures(server, browser, finished, key, told, image_width):
    artifacts = server.ask(
        "print(json.dumps({one.key: str(one.latest_id) for one in await client.read_latest_artifacts()}))"
    )
    browser.open(f"/artifacts/artifact/{artifacts[key]}")
    assert browser.says(key, *told)
    assert not image_width or browser.shows_image(image_width)
    browser.keep(key)


def test_the_schedule_and_the_pool_it_runs_in(browser):
    browser.open("/deployments")
    assert browser.says("nightly", "on-demand", "sweep", "At 02:00 AM every day")
    browser.keep("deployments")
    browser.open("/work-pools")
    assert browser.says("maskline")


def test_parameters_of_a_run_on_demand_can_be_given(browser, server):
    id = server.ask('print(json.dumps(str((await client.read_deployment_by_name("maskline/on-demand")).id)))')
    browser.open(f"/deployments/deployment/{id}/run")
    assert browser.says("recipes", "overrides", "until")
