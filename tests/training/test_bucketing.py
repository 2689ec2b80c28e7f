"""Batches of rows of like length."""

import numpy as np
import pytest

from pipelines.frame.errors import DataError
from pipelines.training.bucketing import Bucketed
from pipelines.training.positions import Position


def test_bucketed_rows_come_once_and_pad_little():
    lengths = np.random.default_rng(0).integers(1, 100, 1000)
    order = Bucketed(lengths, 16, seed=1, stream="test", where=("test", "batch_size"))
    position, batches = Position(0, 0, 0), []
    while position.epoch == 0:
        batches.append(order.rows(position))
        position = order.after(position)
    rows = np.stack(batches)  # all of one size
    assert rows.shape == (62, 16)
    assert len(np.unique(rows)) == 62 * 16
    assert position == Position(62, 1, 0)
    assert not np.array_equal(order.rows(position), rows[0])
    padding = 1 - lengths[rows].sum() / (lengths[rows].max(axis=1) * 16).sum()
    assert padding < 0.1
    longest = lengths[rows].max(axis=1)
    assert abs(np.corrcoef(longest[:-1], longest[1:])[0, 1]) < 0.3  # batches come in random order


def test_bucketed_in_tokens_takes_in_every_row_within_the_budget():
    lengths = np.random.default_rng(0).integers(1, 100, 1000)
    order = Bucketed(
        lengths, 800, seed=1, stream="test", where=("test", "batch_size"), in_tokens=True
    )
    position, batches = Position(0, 0, 0), []
    while position.epoch == 0:
        batches.append(order.rows(position))
        position = order.after(position)
    assert sorted(np.concatenate(batches)) == list(range(1000))
    slots = np.array([len(rows) * lengths[rows].max() for rows in batches])
    assert slots.max() <= 800
    assert np.median(slots) > 700
    assert lengths.sum() / slots.sum() > 0.92


def test_bucketed_pairs_pad_little_on_either_side():
    rng = np.random.default_rng(0)
    source = np.clip(rng.normal(15, 5, 20000), 4, 60).astype(np.int64)
    target = np.clip(source + rng.normal(0, 2.5, 20000), 4, 60).astype(np.int64)
    sides = np.stack([target, source], axis=1)
    order = Bucketed(
        sides, 4096, seed=1, stream="test", where=("test", "batch_size"), in_tokens=True
    )
    position, slots, longer = Position(0, 0, 0), np.zeros(2), []
    while position.epoch == 0:
        rows = order.rows(position)
        slots += len(rows) * sides[rows].max(axis=0)
        longer.append(len(rows) * int(sides[rows].max()))
        position = order.after(position)
    assert max(longer) <= 4096
    filled = sides.sum(axis=0) / slots
    assert filled[0] > 0.98
    assert filled[1] > 0.9


def test_bucketed_in_tokens_row_over_the_budget_is_refused():
    with pytest.raises(
        DataError,
        match=r"longest \(9\) must not exceed the tokens of a batch \(8\); raise batch_size",
    ):
        Bucketed(
            np.array([3, 9]), 8, seed=1, stream="test", where=("test", "batch_size"), in_tokens=True
        )
