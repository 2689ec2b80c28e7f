"""A set of sentences: any order, any number of workers, killed or not, the same hypotheses."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from pipelines.decoding.batches import Workers, batches, search_all
from pipelines.decoding.hypotheses import check_scores
from pipelines.decoding.memory import check_memory
from pipelines.decoding.options import SearchOptions
from pipelines.decoding.params import DecodingParams
from pipelines.decoding.strategies import Strategy, searches
from pipelines.errors import CheckFailed, DataError
from pipelines.hardware import Hardware
from pipelines.records import Records
from pipelines.shards.format import Ragged
from tests.seq2seq.families import build

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
}


def _params(**changes: object) -> DecodingParams:
    return DecodingParams.model_validate({**SECTION, **changes})


def _source() -> Ragged:
    ids = np.random.default_rng(1).integers(5, 20, LENGTHS.sum()).astype(np.uint16)
    return Ragged(ids, np.concatenate([[0], np.cumsum(LENGTHS)]))


def _workers(threads: int, name: str = "transformer") -> Workers:
    fields = dict.fromkeys(("devices", "num_nodes", "checkpoint_every", "keep_checkpoints"), 1)
    sizes = {"num_workers": 0, "micro_batch_size": 0, "compile": False, "checkpoint_minutes": 1.0}
    hardware = Hardware(accelerator="cpu", strategy="auto", num_threads=threads, **fields, **sizes)
    return Workers(build(name), hardware)


def test_batches_hold_each_sentence_once_within_the_budget():
    found = list(batches(_source(), 30))
    assert sorted(number for batch in found for number in batch.numbers) == list(range(10))
    for batch in found:
        assert batch.source_BS.numel() <= 30
        assert batch.lengths_B.tolist() == [LENGTHS[number] + 2 for number in batch.numbers]
    longest = [int(batch.lengths_B.max()) for batch in found]
    assert longest == sorted(longest, reverse=True)
    assert [len(batch.numbers) for batch in batches(_source(), 1)] == [1] * 10


SAMPLING = {"name": "sampling", "temperature": 1.0, "top_k": 0, "top_p": 0.9}


@pytest.mark.parametrize("strategy", [{"name": "beam"}, SAMPLING], ids=["beam", "sampling"])
def test_search_of_a_set_is_the_same_with_any_batches_and_workers(tmp_path, strategy):
    plan = Strategy(_params(strategy=strategy), 1, 3, 2)
    runs = [
        search_all(_workers(threads), _source(), plan, budget, Records(tmp_path / f"{threads}.{budget}"), "test")
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


def test_an_error_in_one_worker_ends_the_search():
    def fail(model: object, device: object, item: int) -> None:
        if item == 3:
            raise FloatingPointError("some are NaN")

    with pytest.raises(FloatingPointError, match="some are NaN"):
        _workers(2).map(fail, range(100))


def test_scores_that_are_not_the_models_stop_the_stage(tmp_path):
    found = search_all(_workers(1), _source(), Strategy(_params(), 1, 3, 2), 30, Records(tmp_path / "x"), "test")
    with pytest.raises(CheckFailed, match=r"hypothesis \d of test sentence \d+ .* must equal its teacher-forced one"):
        check_scores(_workers(1, "rnd2rnd"), _source(), found.hypotheses, 30, "test")
    with pytest.raises(CheckFailed, match=r"hypotheses of test sentence 4 \(0\) must be found"):
        check_scores(_workers(1), _source(), [*found.hypotheses[:4], [], *found.hypotheses[5:]], 30, "test")


def test_searches_of_a_stage_are_greedy_the_sections_and_the_curves():
    assert list(searches(_params(), 1)) == ["greedy", "beam", "beam_2", "beam_4"]
    sampled = searches(_params(strategy=SAMPLING), 1)
    assert list(sampled) == ["greedy", "beam", "beam_2", "beam_3", "beam_4"]
    assert [plan.beam_size for plan in sampled.values()] == [1, 3, 2, 3, 4]
    assert list(searches(_params(rerank="mbr"), 1)) == ["greedy", "beam", "beam_2", "beam_3", "beam_4"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_best": 4}, r"num_best \(4\) must not exceed beam_size \(3\)"),
        ({"min_length": 9}, r"min_length \(9\) must not exceed max_length \(8\)"),
        ({"strategy": {"name": "diverse", "groups": 2, "penalty": 0.5}}, r"groups \(2\) must divide beam_size \(3\)"),
        ({"curve": [4, 2]}, "must rise"),
        ({"stop": {"rule": "likely", "patience": 0.5}}, r"patience \(0.5\) must be at least 1 for likely"),
        ({"score": {**SECTION["score"], "strength": -1.0}}, r"strength \(-1.0\) must be at least 0"),
    ],
)
def test_params_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        _params(**changes)


def test_search_that_could_need_more_memory_than_there_is_is_refused(monkeypatch):
    monkeypatch.setattr("pipelines.decoding.memory.available", lambda device: 10_000_000)
    model, options = build("transformer", double=False), SearchOptions(100_000, 1, 50, 2, (3,))
    state = model.start(torch.randint(5, 20, (4, 6)), torch.full((4,), 6))
    slot, attention = 1 * 2 * 16 * 4, 6 * 4  # one layer's key and value of width 16 in float32; 6 source tokens
    expected = 4 * 100_000 * (50 * (slot + 32) + attention)
    with pytest.raises(DataError, match=rf"beam size \(100000\) must need no .* up to {expected / 2**30:.1f} GiB"):
        check_memory(state, 4, options)
    few = SearchOptions(5, 1, 50, 2, (3,))
    check_memory(state, 4, few)
    with pytest.raises(DataError, match=r"beam size \(5\) must need no more memory"):
        check_memory(state, 4, replace(few, at_once=100_000))
