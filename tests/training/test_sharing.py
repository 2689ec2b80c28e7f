"""Validation shared out among ranks: the averages of one rank, to the bit, and nothing is kept."""

import gc
import weakref
from typing import Any

import numpy as np
import pytest
import torch

from pipelines.bert.data import DocumentSplit, PretrainingBatches
from pipelines.bert.module import BertPretraining, measure_baselines
from pipelines.models.bert import Bert
from pipelines.seq2seq.bleu import ValidationBleu
from pipelines.seq2seq.data import validation_batches
from pipelines.training import sharing
from pipelines.training.sharing import MadeWhenAsked, averages, gathered, my_share
from tests.bert.sample import bert_params, two_languages
from tests.models.families import BLOCKS
from tests.training.ranked import few_pairs, seq2seq_module


class _Ranks:
    """Several ranks, one after the other in this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, world_size: int) -> None:
        self.world_size, self.rank = world_size, 0
        self._said: list[list[Any]] = []
        monkeypatch.setattr(sharing, "_place", lambda: (self.rank, self.world_size))
        monkeypatch.setattr(torch.distributed, "all_gather_object", self._gather)

    def _gather(self, found: list[Any], mine: list[Any]) -> None:
        """Everybody's, once the last has been asked."""
        self._said.append(mine)
        found[:] = self._said

    def last_of(self, measure: Any) -> Any:
        """What the last rank has in the end."""
        found = None
        for rank in range(self.world_size):
            self.rank = rank
            found = measure()
        return found


@pytest.mark.parametrize("micro_batch_size", [0, 2])
@pytest.mark.parametrize("name", BLOCKS)
def test_seq2seq_averages_do_not_depend_on_the_number_of_ranks(monkeypatch, name, micro_batch_size):
    module = seq2seq_module(name, micro_batch_size)
    module.validation_batches = validation_batches(few_pairs(), 3)
    alone = module.validate()
    assert len(module.validation_batches) == 4
    for world_size in (2, 4, 7):
        with monkeypatch.context() as patch:
            assert _Ranks(patch, world_size).last_of(module.validate) == alone


@pytest.mark.parametrize("nsp", ["random", "none"])
def test_bert_averages_do_not_depend_on_the_number_of_ranks(monkeypatch, nsp):
    params = bert_params(segments={"packed": True, "nsp": nsp}, phases={"batch_size": 3})
    torch.manual_seed(0)
    split = DocumentSplit(two_languages(), 1, "valid", 0.15, 300)
    held_out = PretrainingBatches(split, params).all()
    baselines = measure_baselines(held_out, torch.ones(300), 300)
    module = BertPretraining(Bert(params.model, 300), params, held_out, baselines)
    alone = module.validate()
    for world_size in (2, 4):
        with monkeypatch.context() as patch:
            assert _Ranks(patch, world_size).last_of(module.validate) == alone


def test_bleu_of_a_validation_does_not_depend_on_the_number_of_ranks(monkeypatch):
    class Words:
        def decode(self, tokens: Any) -> str:
            return " ".join(map(str, tokens))

    model = seq2seq_module("gru").network
    bleu = ValidationBleu(few_pairs(), Words(), 10, 12, batch_size=3)  # type: ignore[arg-type]
    alone = bleu.measure(model, torch.device("cpu"))
    for world_size in (2, 5):
        with monkeypatch.context() as patch:
            found = _Ranks(patch, world_size).last_of(
                lambda: bleu.measure(model, torch.device("cpu"))
            )
            assert found == alone


def test_items_are_made_when_asked_for_and_not_kept():
    made: list[weakref.ref[Any]] = []

    def make(number: int) -> Any:
        item = np.full(3, number)
        made.append(weakref.ref(item))
        return item

    items = MadeWhenAsked(5, make)
    assert len(items) == 5
    assert made == []
    assert [int(item[0]) for item in items] == [0, 1, 2, 3, 4]
    assert int(items[-1][0]) == 4
    assert [int(item[0]) for item in items[1:3]] == [1, 2]
    gc.collect()
    assert sum(one() is not None for one in made) == 0
    with pytest.raises(IndexError):
        items[5]


def test_everybodys_findings_come_in_the_order_of_the_items(monkeypatch):
    ranks = _Ranks(monkeypatch, 3)
    found = ranks.last_of(
        lambda: gathered([(n, (n, part)) for n in my_share(7) for part in (0, 1)])
    )
    assert found == [(n, part) for n in range(7) for part in (0, 1)]
    assert averages([{"a": (1.0, 2.0), "b": (1.0, 0.0)}, {"a": (2.0, 2.0)}]) == {"a": 0.75}
