"""Batches of rows of like length."""

import numpy as np

from pipelines.training.bucketing import Bucketed
from pipelines.training.positions import Position


def test_bucketed_rows_come_once_and_pad_little():
    lengths = np.random.default_rng(0).integers(1, 100, 1000)
    order = Bucketed(lengths, 16, seed=1, stream="test", where=("test", "batch_size"))
    position, batches = Position(0, 0, 0), []
    while position.epoch == 0:
        batches.append(order.rows(position))
        position = order.after(position)
    rows = np.stack(batches)
    assert rows.shape == (62, 16)
    assert len(np.unique(rows)) == 62 * 16
    assert position == Position(62, 1, 0)
    assert not np.array_equal(order.rows(position), rows[0])
    padding = 1 - lengths[rows].sum() / (lengths[rows].max(axis=1) * 16).sum()
    assert padding < 0.1
    longest = lengths[rows].max(axis=1)
    assert abs(np.corrcoef(longest[:-1], longest[1:])[0, 1]) < 0.3  # batches come in random order
