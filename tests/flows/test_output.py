"""Lines of a stage: all of them in the file, few of them in Prefect; how a stage ended."""

import json
import logging
import os
import time

import pytest

from flows.outcome import StageFailed, StageInterrupted, failure, statuses
from flows.output import Output


def test_output_keeps_all_lines_and_shows_as_many_as_it_may(tmp_path):
    shown: list[str] = []
    clock = [0.0]
    path = tmp_path / "stage/output.log"
    log = lambda level, line: shown.append(line)  # noqa: E731
    with Output(path, log, lambda share: None, now=lambda: clock[0]) as output:
        for number in range(1000):
            output(f"line {number}")
        clock[0] = 2.0
        output("later")
        output("")
    assert path.read_text().splitlines() == [*(f"line {number}" for number in range(1000)), "later"]
    assert shown == [
        *(f"line {number}" for number in range(60)),
        f"(940 lines are in {path} only)",
        "later",
    ]
    assert output.last == [*(f"line {number}" for number in range(981, 1000)), "later"]


def test_output_tells_progress_once_a_second_and_at_the_end(tmp_path):
    shares: list[float] = []
    clock = [0.0]
    path = tmp_path / "x"
    with Output(path, lambda *_: None, shares.append, now=lambda: clock[0]) as output:
        for update in range(1, 41):
            clock[0] += 0.25
            output(f"update {update}/40  loss 1.0")
        output("updates are done 1/2")
    assert len(shares) == 11
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


RAN = ["Running stage 'gru':", "> python -m x", "warning: odd text", "gru: 12 updates, loss 3"]
CACHED = ["Stage 'gru' is cached - skipping run, checking out outputs"]
HINTS = [
    "Updating lock file 'dvc.lock'", "To track the changes with git, run:", "\tgit add dvc.lock",
    "Use `dvc push` to send your updates to remote storage.",
]  # fmt: skip


def _attempt(path, lines):
    shown: list[tuple[int, str]] = []
    with Output(path, lambda *entry: shown.append(entry), lambda share: None) as output:
        for line in lines:
            output(line)
    return output, shown


def test_each_attempt_keeps_its_file_and_a_cached_one_has_none(tmp_path):
    path = tmp_path / "gru/output.log"
    for number in range(12):
        _attempt(path, [*RAN[:2], f"error: no {number}"])
        output, _ = _attempt(path, [*CACHED, *HINTS])
        assert output.cached
    names = ["output.log", *(f"output.{number}.log" for number in range(1, 10))]
    assert sorted(one.name for one in path.parent.iterdir()) == sorted(names)
    assert [(path.parent / name).read_text().splitlines()[-1] for name in names] == [
        f"error: no {number}" for number in range(11, 1, -1)
    ]
    _attempt(path, ["ERROR: dvc.yaml is broken"])  # before the stage ran
    assert path.read_text() == "ERROR: dvc.yaml is broken\n"


def test_lines_have_levels_hints_are_left_out_and_the_stages_own_sentence_is_found(tmp_path):
    output, shown = _attempt(tmp_path / "output.log", [*RAN, *HINTS, "error: at last", "ERROR: so"])
    assert [line for _, line in shown] == [*RAN, "error: at last", "ERROR: so"]
    levels = [logging.INFO, logging.INFO, logging.WARNING, logging.INFO]
    assert [level for level, _ in shown] == [*levels, logging.ERROR, logging.ERROR]
    assert output.said("gru") == "12 updates, loss 3"
    assert output.said("bert") == ""


def test_warnings_and_errors_are_shown_however_much_came_before(tmp_path):
    _, shown = _attempt(tmp_path / "output.log", ["line"] * 500 + ["warning: seen"])
    assert shown[-1] == (logging.WARNING, "warning: seen")
    assert len(shown) < 100


@pytest.mark.parametrize(
    ("status", "code", "kind", "told"),
    [
        ({"state": "preempted", "exit_code": 75}, 255, StageInterrupted, "was told to stop"),
        ({"state": "running", "pid": 1}, 255, StageInterrupted, "its process was lost"),
        ({"state": "finished"}, -9, StageInterrupted, "its process was lost"),
        (
            {"state": "lost", "exit_code": 1, "error": "Connection closed by peer"},
            255,
            StageInterrupted,
            "process was lost",
        ),
        ({"state": "failed", "exit_code": 2}, 255, StageFailed, "bad input"),
        ({"state": "failed", "exit_code": 1}, 255, StageFailed, "failed"),
        (None, 255, StageFailed, "not started"),
    ],
)
def test_failure_is_of_the_kind_the_stage_wrote_even_if_the_clock_was_set_back(
    tmp_path, status, code, kind, told
):
    old, new = (tmp_path / ".runs/bert" / key / "status.json" for key in ("old", "new"))
    for path in (old, new):
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps({"state": "preempted"}))
    before = statuses(tmp_path, "bert")
    if status is not None:
        new.write_text(json.dumps(status))
        an_hour_ago = time.time() - 3600
        os.utime(new, (an_hour_ago, an_hour_ago))
    error = failure(tmp_path, "bert", before, code, ["the last line"])
    assert type(error) is kind
    assert told in str(error)
    assert str(error).endswith("the last line")
