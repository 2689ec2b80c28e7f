"""Sweeps: what they try, and that they end with every result whatever happens on the way."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError

from flows.search_space import Sweep, nested
from pipelines.frame.errors import ParamsError
from tests.conftest import ROOT, run_in

SPEC: dict[str, Any] = {
    "name": "beams",
    "method": {"name": "grid"},
    "space": {"decoding.beam_size": [2, 3], "decoding.score.strength": [0.0, 1.0]},
    "target": "bleu.bert2bert",
}


def _sweep(**changes: Any) -> Sweep:
    return Sweep.model_validate({**SPEC, **changes})


def test_a_grid_is_every_combination():
    assert _sweep().combinations() == [
        {"decoding.beam_size": beam, "decoding.score.strength": strength}
        for beam in (2, 3)
        for strength in (0.0, 1.0)
    ]
    assert nested({"a.b.c": 1, "a.d": 2, "e": 3}) == {"a": {"b": {"c": 1}, "d": 2}, "e": 3}


def test_random_combinations_are_of_their_ranges_and_their_seed():
    space = {
        "rate": {"low": 1e-4, "high": 1e-1, "log": True},
        "width": {"low": 8, "high": 16},
        "norm": ["pre", "post"],
    }
    method = {"name": "random", "samples": 300}
    found = _sweep(method=method, space=space).combinations()
    assert found == _sweep(method=method, space=space).combinations()
    assert found != _sweep(method=method, space=space, seed=2).combinations()
    assert all(1e-4 <= one["rate"] <= 1e-1 for one in found)
    assert 60 < sum(one["rate"] < 1e-3 for one in found) < 140  # a third of the logarithm
    assert {one["width"] for one in found} == set(range(8, 17))
    assert {one["norm"] for one in found} == {"pre", "post"}


def test_halving_keeps_one_in_factor_with_factor_times_the_budget():
    method = {
        "name": "halving",
        "samples": 20,
        "budget": "seq2seq.common.updates",
        "smallest": 50,
        "factor": 3,
    }
    plan = _sweep(method=method, space={"seq2seq.common.batch_size": [8, 16]})
    assert plan.method.rounds() == [(20, 50), (6, 150), (2, 450)]
    assert len(plan.combinations()) == 20


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "Big Sweep"}, "should match pattern"),
        ({"name": "beams-r1"}, r"name \(beams-r1\) must not end as a round of halving does"),
        ({"space": {}}, "at least 1 item"),
        ({"space": {"a": []}}, r"space.a \(\[\]\) must have values"),
        (
            {"space": {"a": {"low": 0, "high": 1}}},
            r"space.a \(a range\) must be a list of values in a grid",
        ),
        ({"space": {"a": {"low": 2, "high": 1}}}, r"low \(2\) must be below high \(1\)"),
        (
            {"space": {"a": {"low": 0, "high": 1, "log": True}}},
            r"low \(0\) must be above 0 on a logarithmic scale",
        ),
        ({"goal": "best"}, "'maximize' or 'minimize'"),
        ({"method": {"name": "bayes"}}, "'grid', 'random', 'halving'"),
    ],
)
def test_sweeps_that_mean_nothing_are_refused(changes, message):
    with pytest.raises(ValidationError, match=message):
        _sweep(**changes)


def _ready(folder: Path) -> None:
    """The copied project with everything committed, as an experiment needs it, and a sweep."""
    run_in(folder, "git", "add", "-A")
    run_in(folder, "git", "commit", "-qm", "all")
    (folder / "sweep.yaml").write_text(
        json.dumps({"sweep": {**SPEC, "space": {"decoding.beam_size": [2, 3, 4]}}})
    )


def test_a_sweep_of_uncommitted_code_is_refused(reproduced_copy):
    _ready(reproduced_copy)
    with (reproduced_copy / "pipelines/frame/errors.py").open("a") as file:
        file.write("# changed\n")
    result = run_in(reproduced_copy, sys.executable, "-m", "flows.sweep", "sweep.yaml", check=False)
    assert result.returncode != 0
    assert "the code (pipelines/frame/errors.py) must be committed" in result.stdout + result.stderr


def test_an_experiment_of_other_params_is_made_anew(reproduced_copy):
    _ready(reproduced_copy)
    script = (
        "import sys, json; from flows.experiment import experiment; experiment('x', [], "
        "json.loads(sys.argv[1]))"
    )
    record, params = (
        reproduced_copy / ".runs/experiments/x" / name
        for name in ("experiment.json", "params.yaml")
    )
    for beam, kept in ((2, False), (2, True), (4, False)):
        before = record.stat().st_mtime_ns if record.exists() else None
        run_in(
            reproduced_copy,
            sys.executable,
            "-c",
            script,
            json.dumps({"decoding": {"beam_size": beam}}),
        )
        assert f"beam_size: {beam}" in params.read_text()
        assert (record.stat().st_mtime_ns == before) == kept
    assert "beam_size: 3" in (reproduced_copy / "params.yaml").read_text()


def test_a_sweep_is_removed_and_no_other(reproduced_copy):
    _ready(reproduced_copy)
    names = ("beams-0-01234567", "beams-r1-2-89abcdef", "beams-2-0-01234567")
    script = (
        f"from flows.experiment import experiment; [experiment(one, [], {{'seed': 2}}) for one in "
        f"{names}]"
    )
    run_in(reproduced_copy, sys.executable, "-c", script)
    for branch in ("sweep/beams/beams-0", "sweep/beams-2/beams-2-0"):
        run_in(reproduced_copy, "git", "branch", branch)
    told = run_in(
        reproduced_copy, sys.executable, "-m", "flows.sweep", "sweep.yaml", "--remove"
    ).stdout
    assert told == "2 experiments removed\n"
    assert [path.name for path in (reproduced_copy / ".runs/experiments").iterdir()] == [
        "beams-2-0-01234567"
    ]
    assert run_in(reproduced_copy, "git", "worktree", "list").stdout.count("experiments") == 1
    branches = run_in(reproduced_copy, "git", "branch", "--list", "sweep/*").stdout.split()
    assert branches == ["sweep/beams-2/beams-2-0"]


def test_an_experiment_begins_from_a_commit_and_params(reproduced_copy):
    """The same overrides of another commit, of edited params or of an edited recipe are another
    experiment.
    """
    _ready(reproduced_copy)
    script = (
        "from flows.experiment import base_of, experiment; experiment('x', ['words'], {}); "
        "print(base_of(['words']))"
    )

    def base() -> str:
        return run_in(reproduced_copy, sys.executable, "-c", script).stdout.strip()

    found = [base(), base()]
    for change in ("params.yaml", "recipes/words.yaml"):
        with (reproduced_copy / change).open("a") as file:
            file.write("# edited\n")
        found.append(base())
    run_in(reproduced_copy, "git", "commit", "-qam", "edited")
    found.append(base())
    assert found[0] == found[1]
    assert len(set(found)) == 4
    worktree = reproduced_copy / ".runs/experiments/x"
    head = run_in(reproduced_copy, "git", "rev-parse", "HEAD").stdout
    assert run_in(worktree, "git", "rev-parse", "HEAD").stdout == head
    assert (worktree / "params.yaml").read_text().endswith("# edited\n")


def test_hooks_and_signing_of_a_user_keep_no_branch_from_being_made(reproduced_copy):
    _ready(reproduced_copy)
    hooks = reproduced_copy / ".git/hooks"
    for name in (
        "pre-commit",
        "commit-msg",
        "post-checkout",
        "prepare-commit-msg",
        "post-commit",
        "reference-transaction",
    ):
        (hooks / name).write_text("#!/bin/sh\nexit 1\n")
        (hooks / name).chmod(0o755)
    run_in(reproduced_copy, "git", "config", "commit.gpgsign", "true")
    run_in(reproduced_copy, "git", "config", "user.signingkey", "nobody")
    script = (
        "from flows.experiment import *; record('sweep/x/y', experiment('y', [], {'seed': 3}), "
        "'y: 1.0')"
    )
    run_in(reproduced_copy, sys.executable, "-c", script)
    shown = run_in(reproduced_copy, "git", "show", "sweep/x/y:params.yaml").stdout
    assert "seed: 3 " in shown


class _Future:
    def __init__(self, done: bool) -> None:
        self.state = SimpleNamespace(is_completed=lambda: done)

    def wait(self) -> None:
        pass


def test_a_result_is_kept_whatever_git_does_and_only_for_its_base_and_target(monkeypatch, tmp_path):
    """Recorded before its branch; asked again after a failure, another target, another base."""
    from flows import sweep as module

    monkeypatch.chdir(tmp_path)
    metrics = tmp_path / "data/report/scores.json"
    metrics.parent.mkdir(parents=True)
    metrics.write_text(json.dumps({"a": 1.0, "b": 2.0}))
    ran: list[str] = []
    state = {"base": "0" * 64, "done": True}

    def refuse(*arguments: object) -> None:
        raise ParamsError("git commit: error: gpg failed to sign the data")

    def made(name: str, *_: object) -> Path:
        ran.append(name)
        return tmp_path

    monkeypatch.setattr(module, "experiment", made)
    monkeypatch.setattr(module, "base_of", lambda recipes: state["base"])
    monkeypatch.setattr(module, "read_graph", lambda folder: [])
    monkeypatch.setattr(module, "ancestors", lambda nodes, name: [])
    monkeypatch.setattr(module, "planned", lambda folder, until: [])
    monkeypatch.setattr(module, "submit", lambda *_, **__: {"report": _Future(state["done"])})
    monkeypatch.setattr(module, "record", refuse)
    said: list[str] = []
    monkeypatch.setattr(module, "get_run_logger", lambda: SimpleNamespace(warning=said.append))

    def values(target: str = "a") -> list[float | None]:
        plan = _sweep(space={"decoding.beam_size": [2, 3]}, target=target)
        return [one["value"] for one in module._all_rounds(plan, None, None)]

    state["done"] = False
    assert values() == [None, None]
    state["done"] = True
    assert values() == [1.0, 1.0]  # tried again
    assert said[-1].startswith(
        "sweep/beams/beams-1-00000000: no branch was made (git commit: error"
    )
    assert values() == [1.0, 1.0]
    assert ran == ["beams-0-00000000", "beams-1-00000000"] * 2
    assert values("b") == [2.0, 2.0]
    state["base"] = "1" * 64
    assert values("b") == [2.0, 2.0]
    assert ran[4:] == [
        "beams-0-00000000",
        "beams-1-00000000",
        "beams-0-11111111",
        "beams-1-11111111",
    ]


@pytest.mark.parametrize("target", ["bleu.bert2brt", "evaluation.bleu", "chrf", "bleu.gru.beam"])
def test_a_target_that_no_experiment_will_have_is_refused_before_anything_runs(target, monkeypatch):
    from flows.sweep import check_params

    monkeypatch.chdir(ROOT)
    space: dict[str, Any] = {"seed": [1, 2]}
    check_params(_sweep(space=space))
    with pytest.raises(
        ParamsError, match=r"target \('.*'\) must be one of mlm, nsp, bleu\.gru"
    ) as caught:
        check_params(_sweep(target=target, space=space))
    if target == "bleu.bert2brt":
        assert str(caught.value).endswith("did you mean 'bleu.bert2bert'?")
    space = {"bert.segments.nsp": ["random", "none"]}
    with pytest.raises(ParamsError, match="target"):  # one of the experiments has none
        check_params(_sweep(target="nsp", space=space))


@pytest.mark.reliability
def test_a_killed_sweep_goes_on_and_ends_with_every_result(reproduced_copy):
    _ready(reproduced_copy)
    command = [sys.executable, "-m", "flows.sweep", "sweep.yaml"]
    environment = {key: value for key, value in os.environ.items() if key != "PREFECT_HOME"}
    first = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    results = reproduced_copy / ".runs/sweeps/beams.jsonl"
    deadline = time.monotonic() + 240
    while not (results.exists() and results.read_text().count("\n") >= 1):
        assert first.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.2)
    first.send_signal(signal.SIGKILL)
    first.wait()
    before = results.read_text().splitlines()[0]
    printed = run_in(reproduced_copy, *command).stdout
    found = [json.loads(line) for line in results.read_text().splitlines()]
    assert results.read_text().splitlines()[0] == before
    names = [re.fullmatch(r"beams-(\d)-[0-9a-f]{8}", one["experiment"]) for one in found]
    assert [match[1] for match in names] == ["0", "1", "2"]
    assert [one["overrides"]["decoding.beam_size"] for one in found] == [2, 3, 4]
    assert printed.count("decoding.beam_size=") == 3
    for one in found:
        folder = reproduced_copy / ".runs/experiments" / one["experiment"]
        metrics = json.loads((folder / "data/report/scores.json").read_text())
        assert metrics["bleu"]["bert2bert"] == one["value"]
        assert not list(folder.glob(".runs/bert/*/committed.json"))  # BERT came from the cache
    branches = run_in(reproduced_copy, "git", "branch", "--list", "sweep/beams/*").stdout.split()
    assert len([name for name in branches if name.startswith("sweep/")]) == 3
    shown = run_in(reproduced_copy, "dvc", "exp", "show", "--all-branches", "--csv").stdout
    assert "sweep/beams/beams-2-" in shown
    compared = run_in(
        reproduced_copy, sys.executable, "-m", "pipelines.report.compare", ".", "sweep/beams"
    ).stdout
    assert re.search(r"decoding\.beam_size +3 +2 +3 +4", compared)
    assert re.search(r"gru: …?[-\w]* − here = .* BLEU", compared)
    assert (reproduced_copy / "params.yaml").read_text().count(
        "beam_size: 3"
    ) == 1  # nothing here has changed
