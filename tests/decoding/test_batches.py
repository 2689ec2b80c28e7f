"""A set of sentences: any order, any number of workers, killed or not, the same hypotheses."""

import copy
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pipelines.decoding import hypotheses
from pipelines.decoding.batches import batches, search_all
from pipelines.decoding.hypotheses import check_scores
from pipelines.decoding.memory_estimate import check_memory
from pipelines.decoding.options import SearchOptions
from pipelines.decoding.params import DecodingParams
from pipelines.decoding.strategies import Strategy, searches
from pipelines.decoding.workers import Workers
from pipelines.ensemble.network import Ensemble
from pipelines.formats.shards.arrays import PairShard, Ragged
from pipelines.frame.errors import CheckFailed, DataError, MasklineError
from pipelines.frame.hardware import Hardware
from pipelines.frame.records import Records
from tests.conftest import ROOT
from tests.models.families import build

LENGTHS = np.array([3, 9, 1, 5, 5, 12, 7, 2, 8, 4])
SECTION = {
    "strategy": {"name": "beam"},
    "beam_size": 3,
    "curve": [1, 2, 3, 4],
    "num_best": 2,
    "min_length": 0,
    "max_length": 8,
    "no_repeat": 0,
    "score": {"name": "average", "strength": 1.0, "end_counts": True, "coverage": 0.0},
    "stop": {"rule": "exact", "patience": 1.0},
    "rerank": "none",
    "batch_tokens": 30,
    "precision": "float32",
}


def _params(**changes: object) -> DecodingParams:
    return DecodingParams.model_validate({**SECTION, **changes})


def _source() -> Ragged:
    ids = np.random.default_rng(1).integers(5, 20, LENGTHS.sum()).astype(np.uint16)
    return Ragged(ids, np.concatenate([[0], np.cumsum(LENGTHS)]))


def _hardware(threads: int) -> Hardware:
    fields = dict.fromkeys(("devices", "num_nodes", "checkpoint_every", "keep_checkpoints"), 1)
    sizes = {"num_workers": 0, "micro_batch_size": 0, "compile": False, "checkpoint_minutes": 1.0}
    sizes["deterministic"], sizes["watch"] = True, "off"
    return Hardware(accelerator="cpu", strategy="auto", num_threads=threads, **fields, **sizes)


def _workers(threads: int, name: str = "transformer") -> Workers:
    return Workers(build(name), _hardware(threads))


def test_batches_hold_each_sentence_once_within_the_budget():
    found = list(batches(_source(), 30))
    assert sorted(number for batch in found for number in batch.numbers) == list(range(10))
    for batch in found:
        assert batch.source_BS.numel() <= 30
        assert batch.lengths_B.tolist() == [LENGTHS[number] + 2 for number in batch.numbers]
    longest = [int(batch.lengths_B.max()) for batch in found]
    assert longest == sorted(longest, reverse=True)
    assert [len(batch.numbers) for batch in batches(_source(), 1)] == [1] * 10


def test_a_gpu_takes_many_batches_at_once_and_parts_of_what_does_not_fit(tmp_path, monkeypatch):
    """Pretended: 16 batches at once, of which no more than 40 tokens fit."""
    from pipelines.decoding import batches as module
    from pipelines.decoding.memory_estimate import TooLarge

    plan, workers, tried = Strategy(_params(), 1, 3, 2), _workers(1), []
    expected = search_all(workers, _source(), plan, 30, Records(tmp_path / "cpu"), "test")
    real = module.beam_search

    def search(model, source_BS, *given, **more):
        tried.append(source_BS.numel())
        if source_BS.numel() > 40:
            error = torch.OutOfMemoryError if len(tried) % 2 == 0 else TooLarge
            raise error("pretended")
        return real(model, source_BS, *given, **more)

    monkeypatch.setattr(module, "beam_search", search)
    monkeypatch.setattr(Workers, "room", lambda _, tokens, budget: 16 * budget)
    found = search_all(workers, _source(), plan, 30, Records(tmp_path / "gpu"), "test")
    assert max(tried) > 60
    tokens = [
        [[one.tokens for one in group] for group in run.hypotheses] for run in (found, expected)
    ]
    assert tokens[0] == tokens[1]
    assert found.searched == expected.searched
    monkeypatch.undo()
    monkeypatch.setattr(module, "beam_search", search)
    workers._on_cpu, workers._devices = False, [torch.device("cuda", 0)]
    assert [workers.room(tokens, 100) for tokens in (10, 1000, 10**6)] == [100, 500, 1600]
    workers._on_cpu, workers._devices = True, [torch.device("cpu")]
    with pytest.raises(MasklineError, match=r"pretended|must let a batch fit"):  # those asked for
        search_all(workers, _source(), plan, 200, Records(tmp_path / "none"), "test")


SAMPLING = {"name": "sampling", "temperature": 1.0, "top_k": 0, "top_p": 0.9}


@pytest.mark.parametrize("strategy", [{"name": "beam"}, SAMPLING], ids=["beam", "sampling"])
def test_search_of_a_set_is_the_same_with_any_batches_and_workers(tmp_path, strategy):
    plan = Strategy(_params(strategy=strategy), 1, 3, 2)
    runs = [
        search_all(
            _workers(threads),
            _source(),
            plan,
            budget,
            Records(tmp_path / f"{threads}.{budget}"),
            "test",
        )
        for threads, budget in ((1, 30), (3, 30), (2, 1), (2, 1000))
    ]
    tokens = [[[one.tokens for one in group] for group in run.hypotheses] for run in runs]
    assert tokens[0] == tokens[1] == tokens[2] == tokens[3]
    assert [len(group) for group in tokens[0]] == [2] * 10
    assert check_scores(_workers(2), _source(), runs[0].hypotheses, 30, "test") < 1e-12


def test_search_of_a_set_goes_on_where_it_was_killed(tmp_path):
    plan, whole = Strategy(_params(), 1, 3, 2), Records(tmp_path / "whole")
    expected = search_all(_workers(1), _source(), plan, 30, whole, "test")
    lines = whole.path.read_text().splitlines(keepends=True)
    part = Records(tmp_path / "part")
    part.path.write_text("".join(lines[:2]) + lines[2][:20])  # the third was being written
    again = search_all(_workers(1), _source(), plan, 30, part, "test")
    assert again.hypotheses == expected.hypotheses
    assert 0 < again.searched < expected.searched == 10
    assert search_all(_workers(1), _source(), plan, 30, part, "test").searched == 0
    assert search_all(_workers(1), _source(), plan, 30, whole, "test").searched == 0


@pytest.mark.parametrize(
    "name", ["transformer", "rnd2rnd", "lstm_additive", "textbook_gru_general", "rnn"]
)
@pytest.mark.parametrize(
    ("precision", "least", "most"),
    [("float32", 0, 1e-5), ("bfloat16", 1e-4, 0.2), ("int8", 1e-4, 0.2)],
)
def test_search_in_any_precision_finds_what_the_model_means(
    tmp_path, monkeypatch, name, precision, least, most
):
    monkeypatch.setattr("pipelines.models.protocol.model._LARGE", 1)
    model = build(name, double=False)
    plain = Workers(copy.deepcopy(model), _hardware(1))
    prepared = Workers(model, _hardware(2), precision)
    plan = Strategy(_params(), 1, 3, 2)
    found = search_all(prepared, _source(), plan, 30, Records(tmp_path / "x"), "test")
    worst = check_scores(plain, _source(), found.hypotheses, 30, "test", most)
    assert least <= worst < most
    if precision != "float32":
        assert model.output.weight.dtype == torch.float32  # a copy was prepared
        with pytest.raises(CheckFailed, match="must equal its teacher-forced one"):
            check_scores(plain, _source(), found.hypotheses, 30, "test")


def test_an_ensemble_is_prepared_member_by_member(tmp_path):
    ensemble = Ensemble([build(name, double=False) for name in ("transformer", "gru")])
    plan, found = Strategy(_params(), 1, 3, 2), []
    for precision in ("float32", "bfloat16"):
        workers = Workers(copy.deepcopy(ensemble), _hardware(1), precision)
        found.append(
            search_all(
                workers, _source(), plan, 30, Records(tmp_path / precision), "test"
            ).hypotheses
        )
    scores = torch.tensor([[group[0].score for group in groups] for groups in found])
    assert 1e-4 < (scores[0] - scores[1]).abs().max() < 0.1


def test_int8_on_a_gpu_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    hardware = _hardware(1).model_copy(update={"accelerator": "gpu"})
    with pytest.raises(
        DataError, match=r"decoding.precision \('int8'\) must be float32 or bfloat16 on a GPU"
    ):
        Workers(build("transformer"), hardware, "int8")


def test_an_error_in_one_worker_ends_the_search():
    def fail(model: object, device: object, item: int) -> None:
        if item == 3:
            raise FloatingPointError("some are NaN")

    for threads in (1, 2):
        with pytest.raises(FloatingPointError, match="some are NaN"):
            list(_workers(threads).map(fail, range(100)))
    assert multiprocessing.active_children() == []


def test_an_error_that_cannot_be_sent_is_told():
    class LocalError(Exception):
        pass

    def fail(model: object, device: object, item: int) -> None:
        raise LocalError("of its own")

    with pytest.raises(RuntimeError, match=r"LocalError\('of its own'\)"):
        list(_workers(2).map(fail, range(3)))


def test_a_killed_worker_ends_the_search():
    def die(model: object, device: object, item: int) -> int:
        if item == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        return item

    with pytest.raises(
        MasklineError, match=r"a worker process must not end before its work is done \(exit code -9"
    ):
        list(_workers(3).map(die, range(1000)))
    assert multiprocessing.active_children() == []


def test_workers_end_with_their_parent(tmp_path):
    """SIGKILL leaves no orphan: the parent cannot end its workers itself."""
    code = """
import os, sys, time
from tests.decoding.test_batches import _workers
def sleep(model, device, item):
    open(f"{sys.argv[1]}/{os.getpid()}", "w").close()
    time.sleep(60)
list(_workers(2).map(sleep, range(2)))
"""
    parent = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT)
    deadline = time.monotonic() + 60
    while len(pids := [int(path.name) for path in tmp_path.iterdir()]) < 2:
        assert time.monotonic() < deadline
        assert parent.poll() is None
        time.sleep(0.05)
    assert all(_alive(pid) for pid in pids)
    parent.kill()
    parent.wait()
    while any(_alive(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_scores_that_are_not_the_models_stop_the_stage(tmp_path):
    found = search_all(
        _workers(1), _source(), Strategy(_params(), 1, 3, 2), 30, Records(tmp_path / "x"), "test"
    )
    with pytest.raises(
        CheckFailed,
        match=r"hypothesis \d of test sentence \d+ .* must equal its teacher-forced one",
    ):
        check_scores(_workers(1, "rnd2rnd"), _source(), found.hypotheses, 30, "test")
    with pytest.raises(CheckFailed, match=r"hypotheses of test sentence 4 \(0\) must be found"):
        check_scores(
            _workers(1), _source(), [*found.hypotheses[:4], [], *found.hypotheses[5:]], 30, "test"
        )


def test_searches_of_a_stage_are_greedy_the_sections_and_the_curves():
    assert list(searches(_params(), 1)) == ["greedy", "beam", "beam_2", "beam_4"]
    sampled = searches(_params(strategy=SAMPLING), 1)
    assert list(sampled) == ["greedy", "beam", "beam_2", "beam_3", "beam_4"]
    assert [plan.beam_size for plan in sampled.values()] == [1, 3, 2, 3, 4]
    assert list(searches(_params(rerank="mbr"), 1)) == [
        "greedy",
        "beam",
        "beam_2",
        "beam_3",
        "beam_4",
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_best": 4}, r"num_best \(4\) must not exceed beam_size \(3\)"),
        ({"min_length": 9}, r"min_length \(9\) must not exceed max_length \(8\)"),
        (
            {"strategy": {"name": "diverse", "groups": 2, "penalty": 0.5}},
            r"groups \(2\) must divide beam_size \(3\)",
        ),
        ({"curve": [4, 2]}, "must rise"),
        (
            {"stop": {"rule": "likely", "patience": 0.5}},
            r"patience \(0.5\) must be at least 1 for likely",
        ),
        (
            {"score": {**SECTION["score"], "strength": -1.0}},
            r"strength \(-1.0\) must be at least 0",
        ),
    ],
)
def test_params_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        _params(**changes)


def test_search_that_could_need_more_memory_than_there_is_is_refused(monkeypatch):
    monkeypatch.setattr("pipelines.decoding.memory_estimate.available", lambda device: 10_000_000)
    model, options = build("transformer", double=False), SearchOptions(100_000, 1, 50, 2, (3,))
    state = model.start(torch.randint(5, 20, (4, 6)), torch.full((4,), 6))
    # one layer's key and value of width 16 in float32; 6 source tokens
    slot, attention = (
        1 * 2 * 16 * 4,
        6 * 4,
    )
    expected = 4 * 100_000 * (50 * (slot + 32) + attention)
    with pytest.raises(
        DataError, match=rf"beam size \(100000\) must need no .* up to {expected / 2**30:.1f} GiB"
    ):
        check_memory(state, 4, options)
    few = SearchOptions(5, 1, 50, 2, (3,))
    check_memory(state, 4, few)
    with pytest.raises(DataError, match=r"beam size \(5\) must need no more memory"):
        check_memory(state, 4, replace(few, at_once=100_000))


def _with_empty_sentences() -> Ragged:
    lengths = np.array([3, 0, 5, 0, 2])
    ids = np.random.default_rng(1).integers(5, 20, lengths.sum()).astype(np.uint16)
    return Ragged(ids, np.concatenate([[0], np.cumsum(lengths)]))


@pytest.mark.parametrize(
    "changes", [{}, {"strategy": SAMPLING}, {"rerank": "mbr"}], ids=["beam", "sampling", "mbr"]
)
def test_a_source_without_tokens_has_an_empty_translation(tmp_path, monkeypatch, changes):
    """Searched, a model would make one up."""
    source, plan = _with_empty_sentences(), Strategy(_params(**changes), 1, 3, 2)
    assert sorted(number for batch in batches(source, 30) for number in batch.numbers) == [0, 2, 4]
    found = search_all(
        _workers(1), source, plan, 30, Records(tmp_path / "found"), "test"
    ).hypotheses
    assert [len(group) for group in found] == [2, 0, 2, 0, 2]
    assert check_scores(_workers(1), source, found, 30, "test") < 1e-12
    hypotheses._write(tmp_path, "beam", found, _Words(), with_scores=True)
    lines = (tmp_path / "beam.txt").read_text().split("\n")
    assert [bool(line) for line in lines] == [True, False, True, False, True, False]
    listed = [
        json.loads(line)["hypotheses"]
        for line in (tmp_path / "beam.nbest.jsonl").read_text().splitlines()
    ]
    assert [len(group) for group in listed] == [2, 0, 2, 0, 2]
    nothing = Ragged(np.zeros(0, np.uint16), np.zeros(4, np.int64))
    empty = search_all(
        _workers(2), nothing, plan, 30, Records(tmp_path / "none"), "test"
    ).hypotheses
    assert empty == [[], [], []]
    assert check_scores(_workers(1), nothing, empty, 30, "test") == 0
    assert hypotheses._summary([])["mean_length"] == 0


class _Words:
    def decode(self, ids):
        return " ".join(f"w{index}" for index in ids)


def test_references_longer_than_any_hypothesis_are_counted():
    target = Ragged(np.arange(5, 17, dtype=np.uint16), np.array([0, 3, 7, 12]))
    assert [hypotheses.num_longer(PairShard(target, target), size) for size in (3, 4, 5, 6)] == [
        3,
        2,
        1,
        0,
    ]
