"""Prefect's UI in a headless Chromium: a finished run, its tasks, its artifacts, the schedule.
Marked ``browser``.
"""

from collections.abc import Iterator

import pytest

from tests.flows.browser import Browser
from tests.flows.served import Server

pytestmark = pytest.mark.browser


@pytest.fixture
def browser(server: Server, request: pytest.FixtureRequest) -> Iterator[Browser]:
    opened = Browser(f"http://127.0.0.1:{server.port}", request.config.getoption("--pictures"))
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
    assert browser.says(name, "Completed", "20 Task runs", "Running stage")
    browser.keep("flow-run")
    browser.click("Task Runs")
    assert browser.says("preflight", "plan", "corpus")
    browser.click("Artifacts")
    assert browser.says("graph", "results", "scores", "seq2seq-loss")


@pytest.mark.parametrize(
    ("key", "told", "image_width"),
    [
        ("plan", ("seq2seq@gru", "stage corpus: new", "because"), 0),
        ("graph", ("seq2seq@gru", "Completed"), 1500),
        ("results", ("bert2bert", "BLEU"), 0),
        ("scores", (), 500),
        ("seq2seq-loss", (), 500),
        ("progress-bert", ("100%",), 0),
    ],
)
def test_artifacts_are_shown_as_tables_and_pictures(
    server, browser, finished, key, told, image_width
):
    artifacts = server.ask(
        "print(json.dumps({one.key: str(one.latest_id)"
        " for one in await client.read_latest_artifacts()}))"
    )
    browser.open(f"/artifacts/artifact/{artifacts[key]}")
    assert browser.says(key, *told)
    assert not image_width or browser.shows_image(image_width)
    browser.keep(key)


def test_the_schedule_and_the_pool_it_runs_in(browser):
    browser.open("/deployments")
    assert browser.says("nightly", "on-demand", "sweep", "At 02:00 AM every day")
    assert browser.says("watch", "At 06:00 AM every day")
    browser.keep("deployments")
    browser.open("/work-pools")
    assert browser.says("maskline", "maskline-watch")


def test_parameters_of_a_run_on_demand_can_be_given(browser, server):
    id = server.ask(
        'print(json.dumps(str((await client.read_deployment_by_name("maskline/on-demand")).id)))'
    )
    browser.open(f"/deployments/deployment/{id}/run")
    assert browser.says("recipes", "overrides", "until")
