"""Schedules by exact numbers, one_cycle against PyTorch's own."""

import math

import pytest
import torch
from pydantic import TypeAdapter

from pipelines.optim.params import Schedule
from pipelines.optim.schedules import factor


def _schedule(name: str, **keys: float) -> Schedule:
    return TypeAdapter(Schedule).validate_python({"name": name, **keys})


@pytest.mark.parametrize(
    ("name", "keys", "update", "expected"),
    [
        ("linear", {"final_factor": 0.0}, 0, 0.1),
        ("linear", {"final_factor": 0.0}, 9, 1.0),
        ("linear", {"final_factor": 0.0}, 10, 1.0),
        ("linear", {"final_factor": 0.0}, 55, 0.5),
        ("linear", {"final_factor": 0.0}, 100, 0.0),
        ("linear", {"final_factor": 0.0}, 120, 0.0),
        ("linear", {"final_factor": 0.2}, 55, 0.6),
        ("cosine", {"final_factor": 0.0}, 55, 0.5),
        ("cosine", {"final_factor": 0.0}, 25, (1 + math.cos(math.pi / 6)) / 2),
        ("cosine", {"final_factor": 0.1}, 100, 0.1),
        ("constant", {}, 4, 0.5),
        ("constant", {}, 99, 1.0),
        ("inverse_square_root", {}, 9, 1.0),
        ("inverse_square_root", {}, 39, 0.5),
        ("inverse_square_root", {}, 89, 1 / 3),
        ("warmup_stable_decay", {"decay_updates": 16, "final_factor": 0.0}, 83, 1.0),
        ("warmup_stable_decay", {"decay_updates": 16, "final_factor": 0.0}, 88, 0.5),
        ("warmup_stable_decay", {"decay_updates": 16, "final_factor": 0.0}, 93, 0.25),
        ("warmup_stable_decay", {"decay_updates": 16, "final_factor": 0.0}, 100, 0.0),
    ],
)
def test_factor_exact_values(name, keys, update, expected):
    assert factor(_schedule(name, warmup_updates=10, **keys), update, total=100) == pytest.approx(
        expected, abs=1e-12
    )


def test_factor_one_cycle_equals_pytorchs():
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        max_lr=1.0,
        total_steps=100,
        pct_start=0.31,
        div_factor=25.0,
        final_div_factor=100.0,
    )
    ours = _schedule("one_cycle", warmup_updates=30, initial_factor=1 / 25, final_factor=1 / 2500)
    for update in range(100):
        assert factor(ours, update, total=100) == pytest.approx(theirs.get_last_lr()[0], abs=1e-12)
        optimizer.step()
        if update < 99:
            theirs.step()
