"""Prefect's UI in a headless Chromium: a finished run, its tasks, its artifacts, the schedule. Marked ``browser``."""

import shutil
from collections.abc import Iterator
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
_STAGES = ("preflight", "plan", "corpus", "tokenizer", "shards", "bert", "seq2seq@bert2bert", "evaluation", "report")
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

    def open(self, path: str, *told: str) -> None:
        """Open a page and wait until it says all this."""
        self.driver.get(self._base + path)
        self.wait(*told)

    def wait(self, *told: str) -> None:
        def all_there(driver: webdriver.Chrome) -> bool:
            text = driver.find_element(By.TAG_NAME, "body").text
            return all(one in text for one in told)

        try:
            WebDriverWait(self.driver, 60).until(all_there)
        except TimeoutException:
            text = self.driver.find_element(By.TAG_NAME, "body").text
            raise AssertionError(f"{self.driver.current_url} does not say {told} but\n{text}") from None

    def wait_for_image(self, width: int) -> None:
        """Until the page shows an image that is so wide by itself."""

        def shown(driver: webdriver.Chrome) -> bool:
            return any(one >= width for one in driver.execute_script(_NATURAL_WIDTHS))

        WebDriverWait(self.driver, 60).until(shown, f"{self.driver.current_url} shows no such image")

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
    browser.open("/runs", "maskline", name, "Completed")
    browser.open(f"/runs/flow-run/{id}", name, "Completed", "18 Task runs", "Running stage")
    browser.keep("flow-run")
    browser.click("Task Runs")
    browser.wait(*_STAGES[:3])
    browser.click("Artifacts")
    browser.wait("graph", "results", "bleu", "seq2seq-loss")


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
    browser.open(f"/artifacts/artifact/{artifacts[key]}", key, *told)
    if image_width:
        browser.wait_for_image(image_width)
    browser.keep(key)


def test_the_schedule_and_the_runs_it_plans(browser, finished):
    browser.open("/deployments", "nightly", "on-demand", "sweep", "At 02:00 AM every day")
    browser.keep("deployments")
    browser.open("/work-pools", "maskline")


def test_parameters_of_a_run_on_demand_can_be_given(browser, server, finished):
    id = server.ask('print(json.dumps(str((await client.read_deployment_by_name("maskline/on-demand")).id)))')
    browser.open(f"/deployments/deployment/{id}/run", "recipes", "overrides", "until")
