"""What a run would do, told before it runs, against what DVC then does."""

import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import run_in


def _plan(folder: Path) -> dict[str, dict[str, Any]]:
    planned = json.loads(run_in(folder, sys.executable, "-m", "flows.plan", "--json").stdout)
    return {one["name"]: one for one in planned}


def _states(planned: dict[str, dict[str, Any]]) -> dict[str, str]:
    return {name: one["state"] for name, one in planned.items()}


def _edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_nothing_changed_is_all_cached_with_what_it_cost(reproduced_copy):
    planned = _plan(reproduced_copy)
    assert set(_states(planned).values()) == {"cached"}
    assert len(planned) == 18
    for one in planned.values():
        assert one["reasons"] == one["notes"] == one["waits_for"] == one["environment"] == []
        assert 0 < one["seconds"] < 300
        assert one["mib"] > 0
    assert run_in(reproduced_copy, sys.executable, "-m", "flows.plan").stdout.endswith(
        "0 of 18 stages may run\n"
    )


def test_a_changed_key_is_told_with_its_values_and_its_line_and_dvc_does_as_planned(
    reproduced_copy,
):
    path = reproduced_copy / "params.yaml"
    line = next(
        number
        for number, text in enumerate(path.read_text().splitlines(), 1)
        if "num_resamples" in text
    )
    _edit(path, "num_resamples: 100", "num_resamples: 120")
    planned = _plan(reproduced_copy)
    reason = planned["evaluation"]["reasons"][0]
    expected = {
        "kind": "param",
        "name": "evaluation.num_resamples",
        "old": 100,
        "new": 120,
        "place": f"params.yaml:{line}",
    }
    assert reason == expected
    assert planned["evaluation"]["notes"] == [
        f"param evaluation.num_resamples: 100 → 120 (params.yaml:{line})"
    ]
    states = _states(planned)
    assert states.pop("evaluation") == "run"
    assert states.pop("report") == "waits"
    assert planned["report"]["notes"] == ["waits for evaluation"]
    assert set(states.values()) == {"cached"}
    before = (reproduced_copy / "dvc.lock").read_bytes()
    assert "evaluation" in run_in(reproduced_copy, "dvc", "repro").stdout
    assert (reproduced_copy / "dvc.lock").read_bytes() != before
    _edit(path, "num_resamples: 120", "num_resamples: 100")  # DVC has computed this before
    back = _plan(reproduced_copy)
    assert set(_states(back).values()) == {"cached"}
    assert back["evaluation"]["reasons"] == [{**expected, "old": 120, "new": 100}]
    printed = run_in(reproduced_copy, "dvc", "repro").stdout
    assert "Running stage" not in printed
    assert "'evaluation' is cached" in printed


def test_changed_code_lost_data_and_another_environment_are_told(reproduced_copy):
    _edit(reproduced_copy / "pipelines/evaluation/evaluate.py", '"""', '"""Of a stranger: ')
    shutil.rmtree(reproduced_copy / "data/decoding/gru")
    for record in (reproduced_copy / ".runs/bert").glob("*/origin.json"):
        _edit(record, '"torch": "2', '"torch": "1')
    planned = _plan(reproduced_copy)
    (reason,) = planned["evaluation"]["reasons"]
    assert (reason["kind"], reason["name"]) == ("code", "pipelines/evaluation/evaluate.py")
    assert reason["old"] != reason["new"]
    assert planned["evaluation"]["state"] == "run"
    (lost,) = planned["decoding@gru"]["reasons"]
    assert (lost["kind"], lost["name"], lost["new"]) == ("output", "data/decoding/gru", None)
    assert planned["decoding@gru"]["state"] == "cached"  # comes back from the cache
    (note,) = planned["bert"]["environment"]
    assert note.startswith("torch 1.")
    assert " → 2." in note
    assert planned["bert"]["state"] == "cached"


def test_nothing_has_run_yet(reproduced_copy):
    (reproduced_copy / "dvc.lock").unlink()
    for name in ("data", ".runs", ".dvc/cache"):
        for path in (reproduced_copy / name).glob("*"):
            if path.is_dir() and path.name != "raw":
                shutil.rmtree(path)
    planned = _plan(reproduced_copy)
    assert set(_states(planned).values()) == {"run"}
    searched = sorted(name for name in planned if "decoding" in name)
    assert planned["evaluation"]["waits_for"] == ["corpus", *searched, "tokenizer"]
    assert all(one["seconds"] is None for one in planned.values())
    assert planned["corpus"]["notes"] == ["stage corpus: new"]


def test_a_broken_dvc_yaml_is_an_error(reproduced_copy):
    _edit(reproduced_copy / "dvc.yaml", "    outs: [data/corpus]", "    outz: [data/corpus]")
    result = run_in(reproduced_copy, sys.executable, "-m", "flows.plan", check=False)
    assert result.returncode == 1
    assert "error: " in result.stderr
    assert "dvc.yaml" in result.stderr


@pytest.mark.recipes
def test_in_a_clone_with_nothing_but_the_cache_the_plan_is_what_dvc_does(reproduced_copy, tmp_path):
    """Every dep of a later stage is foreseen from the outs of earlier ones, folders of outs too."""
    for out in ("corpus", "tokenizer", "shards", "bert", "seq2seq", "decoding", "evaluation"):
        shutil.rmtree(reproduced_copy / "data" / out)
    shutil.rmtree(reproduced_copy / "data/report")
    assert set(_states(_plan(reproduced_copy)).values()) == {"cached"}
    path = reproduced_copy / "params.yaml"
    _edit(path, "num_resamples: 100", "num_resamples: 130")
    planned = _plan(reproduced_copy)
    states = _states(planned)
    assert (states.pop("evaluation"), states.pop("report")) == ("run", "waits")
    assert set(states.values()) == {"cached"}
    printed = run_in(reproduced_copy, "dvc", "repro").stdout
    running = [line for line in printed.splitlines() if line.startswith("Running stage")]
    assert running == ["Running stage 'evaluation':", "Running stage 'report':"]


def test_until_a_stage_and_one_that_is_not_there(reproduced_copy):
    command = [sys.executable, "-m", "flows.plan", "--until"]
    planned = json.loads(run_in(reproduced_copy, *command, "shards", "--json").stdout)
    assert [one["name"] for one in planned] == ["corpus", "tokenizer", "shards"]
    unknown = run_in(reproduced_copy, *command, "shard", check=False)
    assert unknown.returncode == 2
    assert "stage ('shard') must be one of bert," in unknown.stderr
    assert "did you mean 'shards'?" in unknown.stderr


@pytest.mark.recipes
def test_in_the_worktree_of_an_experiment_the_plan_is_what_dvc_does(reproduced_copy, monkeypatch):
    """Nothing lies under its data yet; an interrupted stage there is told too."""
    from flows.experiment import experiment

    monkeypatch.chdir(reproduced_copy)
    run_in(reproduced_copy, "git", "add", "--all")
    run_in(reproduced_copy, "git", "commit", "--quiet", "--message", "all")
    phases = "[{updates: 20000, batch_size: 8, ramp: none, max_length: 96, max_predictions: 20}]"
    overrides = {"decoding": {"beam_size": 2}}
    folder = reproduced_copy / experiment("wider", [], overrides)
    planned = _states(_plan(folder))
    searched = {name for name in planned if name.startswith("decoding@")}
    assert {planned[name] for name in searched} == {"run"}
    # The report searches too, for the page.
    assert (planned["evaluation"], planned["report"]) == ("waits", "run")
    assert {planned[name] for name in {*planned} - searched - {"evaluation", "report"}} == {
        "cached"
    }
    printed = run_in(folder, "dvc", "repro").stdout
    running = set(re.findall(r"Running stage '([^']+)'", printed))
    assert running == {*searched, "evaluation", "report"}
    (folder / "long.yaml").write_text(f"bert: {{phases: {phases}}}\n")
    run_in(folder, sys.executable, "-m", "pipelines.params", "apply", "long.yaml")
    run = subprocess.Popen(["dvc", "repro", "bert"], cwd=folder, stdout=subprocess.DEVNULL)
    while not list(folder.glob(".runs/bert/*/checkpoints/update-*.ckpt")):
        assert run.poll() is None
        time.sleep(0.1)
    run.kill()  # and the stage dies with it
    run.wait()
    time.sleep(1)
    (bert,) = [one for name, one in _plan(folder).items() if name == "bert"]
    assert bert["state"] == "run"
    assert bert["goes_on_after"] > 0
    _edit(folder / "params.yaml", "learning_rate: 2.0e-3", "learning_rate: 2.1e-3")
    assert _plan(folder)["bert"]["goes_on_after"] is None
