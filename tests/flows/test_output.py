"""Lines of a stage: all of them in the file, few of them in Prefect; how a stage ended."""

import json
import os
import time

import pytest

from flows.outcome import StageFailed, StageInterrupted, failure, statuses
from flows.output import Output


def test_output_keeps_all_lines_and_shows_as_many_as_it_may(tmp_path):
    shown: list[str] = []
    clock = [0.0]
    path = tmp_path / "stage/output.log"
    with Output(path, shown.append, lambda share: None, now=lambda: clock[0]) as output:
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
    with Output(tmp_path / "x", lambda line: None, shares.append, now=lambda: clock[0]) as output:
        for update in range(1, 41):
            clock[0] += 0.25
            output(f"update {update}/40  loss 1.0")
        output("updates are done 1/2")
    assert len(shares) == 11
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


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
