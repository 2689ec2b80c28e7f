"""Pair batches: shapes, shift of the target, invariance under the number of ranks."""

import numpy as np
import pytest
import torch

from pipelines.formats.shards.arrays import PairShard, Ragged
from pipelines.formats.vocabulary.special_tokens import CLS, END, PAD, SEP, START
from pipelines.frame.errors import DataError
from pipelines.seq2seq.data import PairBatches, draw_pairs, validation_batches
from pipelines.training.positions import Batches, Position


@pytest.fixture
def shard():
    rng = np.random.default_rng(0)

    def ragged(first: int) -> Ragged:
        sizes = rng.integers(1, 20, 100)
        tokens = np.concatenate(
            [np.full(size, first + row) for row, size in enumerate(sizes)]
        ).astype(np.uint16)
        return Ragged(tokens, np.concatenate([[0], np.cumsum(sizes)]))

    return PairShard(ragged(5), ragged(205))


def test_pair_batch_shifts_the_target_by_one(shard):
    batch = PairBatches(shard, 10, seed=1)(Position(0, 0, 0))
    for source, inputs, labels in zip(
        batch.source_BS, batch.inputs_BT, batch.labels_BT, strict=True
    ):
        pair = int(source[1]) - 5
        x, y = shard.source[pair].tolist(), shard.target[pair].tolist()
        assert source[source != PAD].tolist() == [CLS, *x, SEP]
        assert inputs[: len(y) + 1].tolist() == [START, *y]
        assert labels[: len(y) + 1].tolist() == [*y, END]
        assert not labels[len(y) + 1 :].any()
    assert batch.num_tokens == (batch.labels_BT != PAD).sum()
    assert batch.source_lengths_B.tolist() == (batch.source_BS != PAD).sum(dim=1).tolist()


def test_pair_batches_of_an_epoch_hold_each_pair_once(shard):
    batches = PairBatches(shard, 10, seed=1)
    both = list(Batches(batches, Position(0, 0, 0), 20))
    assert [batch.position.epoch for batch in both] == [0] * 10 + [1] * 10
    pairs, following = (
        torch.cat([batch.source_BS[:, 1] for batch in part]) - 5 for part in (both[:10], both[10:])
    )
    assert sorted(pairs.tolist()) == sorted(following.tolist()) == list(range(100))
    assert pairs.tolist() != following.tolist()


def test_pair_batch_split_is_the_batch(shard):
    whole = PairBatches(shard, 10, seed=1)(Position(0, 0, 0))
    parts = list(whole.split(4))
    assert [len(part.source_BS) for part in parts] == [4, 4, 2]
    assert torch.equal(torch.cat([part.labels_BT for part in parts]), whole.labels_BT)
    assert sum(part.num_tokens for part in parts) == whole.num_tokens


@pytest.mark.parametrize("world_size", [2, 5])
def test_pair_batches_are_the_same_for_any_number_of_ranks(shard, world_size):
    whole = PairBatches(shard, 10, seed=1)(Position(13, 1, 30))
    for rank in range(world_size):
        part = PairBatches(shard, 10, seed=1, rank=rank, world_size=world_size)(Position(13, 1, 30))
        assert part.source_BS[:, 1].tolist() == whole.source_BS[rank::world_size, 1].tolist()


def test_draw_pairs_keeps_pairs_together_and_more_hold_fewer(shard):
    few, more = draw_pairs(shard, 7, 1), draw_pairs(shard, 30, 1)
    chosen = [
        {int(row[0]) for row in (part.source[i] for i in range(len(part)))} for part in (few, more)
    ]
    assert (len(few), len(more)) == (7, 30)
    assert chosen[0] < chosen[1]
    for row in range(30):
        pair = int(more.source[row][0]) - 5
        assert more.source[row].tolist() == shard.source[pair].tolist()
        assert more.target[row].tolist() == shard.target[pair].tolist()
    assert draw_pairs(shard, "all", 1) is shard
    assert {int(draw_pairs(shard, 7, 2).source[row][0]) for row in range(7)} != chosen[0]


def test_draw_pairs_more_than_there_are_is_refused(shard):
    with pytest.raises(
        DataError, match=r"seq2seq.common.training_pairs \(101\) must not exceed .* \(100\)"
    ):
        draw_pairs(shard, 101, 1)


def test_pair_batches_too_few_pairs_are_refused(shard):
    with pytest.raises(DataError, match=r"must be at least one batch \(101\)"):
        PairBatches(shard, 101, seed=1)


def test_validation_batches_hold_every_pair(shard):
    pairs = torch.cat([batch.source_BS[:, 1] for batch in validation_batches(shard, 7)]) - 5
    assert sorted(pairs.tolist()) == list(range(100))


def test_a_cut_target_is_not_taught_to_end(shard):
    cut = PairShard(shard.source, shard.target, np.array([3, 40]))
    for batch in validation_batches(cut, batch_size=7):
        for inputs, labels in zip(batch.inputs_BT, batch.labels_BT, strict=True):
            y = inputs[inputs != PAD][1:].tolist()
            pair = y[0] - 205
            ends = [] if pair in (3, 40) else [END]
            assert labels[labels != PAD].tolist() == [*y, *ends]
        assert batch.num_tokens == (batch.labels_BT != PAD).sum()
    drawn = draw_pairs(cut, 60, 1)
    texts = [drawn.target[row].tolist() for row in drawn.cut_targets]
    assert all(text[0] - 205 in (3, 40) for text in texts)
    assert sum(drawn.target[row][0] - 205 in (3, 40) for row in range(60)) == len(texts)
