"""Packing: every sequence once, no row too long, hardly a gap."""

import numpy as np
import pytest

from pipelines.bert.packing import pack


def _rows(lengths, room):
    order, rows = pack(lengths, room)
    assert sorted(order.tolist()) == list(range(len(lengths)))
    used = np.add.reduceat(lengths[order], rows[:-1])
    assert used.max() <= room
    return used


def test_pack_lengths_from_8_to_500_fill_98_percent_of_512():
    lengths = np.random.default_rng(0).integers(8, 501, 20_000)
    used = _rows(lengths, 512)
    assert used.sum() / (len(used) * 512) > 0.98


@pytest.mark.parametrize(
    ("lengths", "rows"),
    [([5, 5, 5], 2), ([10], 1), ([4, 6, 3, 7, 10], 3), ([1] * 25, 3), ([6, 6, 4, 4], 2)],
)
def test_pack_small_cases_take_the_fewest_rows(lengths, rows):
    assert len(_rows(np.array(lengths), 10)) == rows


def test_pack_same_length_keeps_the_order_given():
    order, _ = pack(np.array([7, 7, 7]), 10)
    assert order.tolist() == [0, 1, 2]


def test_pack_nothing_is_no_row():
    order, rows = pack(np.zeros(0, np.int64), 10)
    assert len(order) == 0
    assert rows.tolist() == [0]
