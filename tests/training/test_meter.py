"""Averages of many additions, in one go and over a checkpoint."""

import pytest
import torch

from pipelines.training.meter import Meter

_ADDED = [
    {"loss": (torch.tensor(6.0), 2), "seen": (torch.tensor(1.0), torch.tensor(4))},
    {"loss": (torch.tensor(3.0), 4), "seen": (torch.tensor(2.0), torch.tensor(2))},
    {"loss": (torch.tensor(1.5), 1), "none": (torch.tensor(0.0), 0)},
]


@pytest.mark.parametrize("saved_after", [None, 1, 2])
def test_sums_are_divided_by_the_sums_of_their_weights(saved_after):
    meter = Meter()
    for number, values in enumerate(_ADDED):
        if number == saved_after:
            state = meter.state_dict()
            meter = Meter()
            meter.load_state_dict(state)
        meter.add(values)
    assert {name: pair.tolist() for name, pair in meter.state_dict().items()} == {
        "loss": [10.5, 7.0],
        "seen": [3.0, 6.0],
        "none": [0.0, 0.0],
    }
    assert meter.read() == {"loss": 1.5, "seen": 0.5}  # without the one that has no weight
    assert meter.read() == {}


def test_sums_are_exact_where_float32_would_lose_them():
    meter = Meter()
    for value in (2.0**24, 1.0, 1.0):
        meter.add({"loss": (torch.tensor(value), 1)})
    assert meter.state_dict()["loss"].tolist() == [2.0**24 + 2, 3.0]
