"""Offline runs of W&B, sent: each once, whole even after a kill, and again where a server fails."""

import json
import subprocess
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipelines.frame.records import Records
from pipelines.frame.tracking import Identity, Tracker, TrackingParams, nested, scalars
from pipelines.tracking import sync as syncing
from pipelines.tracking.sync import NotSent, sync
from tests import wandb_file

PARAMS = TrackingParams(mode="offline", project="maskline", entity=None)


def _identity(name: str) -> Identity:
    return Identity(
        id=f"{name}-0123456789abcdef", name=f"{name} quick", group="g", job_type=name,
        tags=[name, "quick"], notes="python -m x", config={"params": {"seed": 1}},
    )  # fmt: skip


def _run(name: str, steps: int, state: str = "running") -> Path:
    """A stage's run folder with so many points."""
    folder = Path(".runs", name, "0123456789abcdef")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tracking.json").write_text(json.dumps(asdict(_identity(name))))
    (folder / "status.json").write_text(json.dumps({"state": state, "pid": 1}))
    records = Records(folder / "metrics.jsonl")
    for step in range(len(records.read()), steps):
        records.append({"step": step, "loss": 1 / (step + 1), "valid_loss": 2.0 - step})
    return folder


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """One that takes files, or as many tries as it is told to refuse."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(syncing, "_PAUSES_S", (0.0, 0.0, 0.0))
    monkeypatch.setenv("WANDB_MODE", "disabled")  # of tests; a sync tells all the same
    found = SimpleNamespace(taken=[], refuses=0)

    def take(told: Path) -> subprocess.CompletedProcess[str]:
        if found.refuses:
            found.refuses -= 1
            return subprocess.CompletedProcess([], 1, "", "wandb: ERROR 502")
        found.taken.append(told)
        return subprocess.CompletedProcess([], 0, "", "")

    monkeypatch.setattr(syncing, "_wandb_sync", take)
    return found


def test_a_killed_run_is_told_point_for_point_of_what_the_stage_wrote(server):
    folder = _run("bert", 50)
    assert list(sync(PARAMS)) == ["bert quick: sent, made anew of metrics.jsonl"]
    (told,) = server.taken
    (file,) = told.glob("*.wandb")
    found = wandb_file.read(file)
    points = [
        {name: value for name, value in one.items() if not name.startswith("_")}
        for one in found["history"]
    ]
    assert points == Records(folder / "metrics.jsonl").read()
    assert (found["run"].run_id, found["run"].notes) == ("bert-0123456789abcdef", "python -m x")
    assert list(found["run"].tags) == ["bert", "quick"]


def test_what_was_sent_is_sent_again_only_when_it_has_changed(server):
    _run("bert", 5)
    _run("gru", 3, "finished")
    assert len(list(sync(PARAMS))) == 2
    assert list(sync(PARAMS)) == []
    _run("bert", 6)
    assert len(list(sync(PARAMS))) == 1
    assert [path.name.endswith("bert-0123456789abcdef") for path in server.taken].count(True) == 2


def test_the_newest_file_of_a_finished_run_is_sent_as_it_is(server):
    _run("gru", 3, "finished")
    for moment in ("20260101_000000", "20260102_000000"):
        Path(f".runs/wandb/offline-run-{moment}-gru-0123456789abcdef").mkdir(parents=True)
    assert list(sync(PARAMS)) == ["gru quick: sent"]
    assert server.taken[0].name == "offline-run-20260102_000000-gru-0123456789abcdef"


def test_a_server_that_refuses_is_asked_again_and_what_was_sent_stays_sent(server):
    _run("bert", 2)
    server.refuses = 2
    assert len(list(sync(PARAMS))) == 1
    _run("gru", 2)
    server.refuses = 9
    with pytest.raises(NotSent, match=r"must be taken by W&B's server \(wandb: ERROR 502\)"):
        list(sync(PARAMS))
    server.refuses = 0
    assert list(sync(PARAMS)) == ["gru quick: sent, made anew of metrics.jsonl"]


class _Online:
    """A run that a server has up to some steps."""

    def __init__(self, **until: int) -> None:
        self.resumed, self.summary, self.offline = True, dict[str, Any](until), False
        self.logged: list[dict[str, Any]] = []
        self.defined: dict[str, dict[str, str]] = {}

    def log(self, record: dict[str, Any]) -> None:
        self.logged.append(record)

    def define_metric(self, name: str, step_metric: str = "", **how: str) -> None:
        self.defined[name] = how


def test_a_resumed_run_online_logs_each_step_once_and_knows_its_goals(tmp_path, monkeypatch):
    import wandb

    # Killed between a point of training and the validation of the same update.
    run = _Online(logged_train=4, logged_valid=2, logged_table=2)
    monkeypatch.setattr(wandb, "init", lambda **_: run)
    tracker = Tracker(PARAMS, tmp_path, _identity("bert"), mode="online")
    for step in range(6):  # all that was told before is told again at a resume
        tracker.log({"step": step, "loss": 3.0})
        if step % 2 == 0:
            tracker.log({"step": step, "valid_loss": 1.0, "valid_bleu": 2.0})
            tracker.log_table(step, "samples", [{"text": "a"}])
    assert [sorted(one) for one in run.logged] == [
        ["step", "valid_bleu", "valid_loss"], ["samples", "step"], ["loss", "step"],
    ]  # fmt: skip
    assert [one["step"] for one in run.logged] == [4, 4, 5]
    assert run.summary == {"logged_train": 5, "logged_valid": 4, "logged_table": 4}
    assert run.defined["valid_loss"] == {"summary": "min,last"}
    assert run.defined["valid_bleu"] == {"summary": "max,last"}
    assert run.defined["loss"] == {}


def test_whatever_wandb_does_a_stage_goes_on(tmp_path, monkeypatch, capsys):
    import wandb

    def fails(**_: Any) -> None:
        raise RuntimeError("no route to host")

    monkeypatch.setattr(wandb, "init", fails)
    tracker = Tracker(PARAMS, tmp_path, _identity("bert"), mode="online")
    tracker.log({"step": 1, "loss": 1.0})
    tracker.log_pictures(tmp_path)
    tracker.log_out("data-bert", "bert", {}, [])
    tracker.finish({"state": "finished"})
    assert capsys.readouterr().err.count("warning: W&B is off for the rest of this stage") == 1


def test_a_summary_has_figures_and_a_configuration_levels():
    metrics = {"evaluation": {"leading": "bleu", "architectures": {"gru": {}}}, "seconds": 3.0}
    assert scalars(metrics) == {"evaluation": {"leading": "bleu"}, "seconds": 3.0}
    assert nested({"a.b": 1, "a.c.d": {"e": 2}, "x": 3}) == {
        "a": {"b": 1, "c": {"d": {"e": 2}}},
        "x": 3,
    }
