"""Schedules by exact numbers; decay where it belongs."""

import pytest
from torch import nn

from pipelines.optim.optimizers import adamw
from pipelines.optim.params import OptimizationParams
from pipelines.optim.schedules import factor
from tests.optimization import OPTIMIZATION


@pytest.mark.parametrize(
    ("schedule", "update", "expected"),
    [
        ("linear", 0, 0.1),
        ("linear", 9, 1.0),
        ("linear", 10, 1.0),
        ("linear", 55, 0.5),
        ("linear", 100, 0.0),
        ("linear", 120, 0.0),
        ("constant", 4, 0.5),
        ("constant", 99, 1.0),
        ("inverse_square_root", 9, 1.0),
        ("inverse_square_root", 39, 0.5),
        ("inverse_square_root", 89, 1 / 3),
    ],
)
def test_factor_exact_values(schedule, update, expected):
    assert factor(schedule, update, warmup=10, total=100) == pytest.approx(expected, abs=1e-12)


def test_factor_unknown_schedule_is_refused():
    with pytest.raises(ValueError, match="cosine"):
        factor("cosine", 20, warmup=10, total=100)


def test_adamw_decays_matrices_only_and_follows_the_schedule():
    changes = {"weight_decay": 0.1, "warmup_updates": 2, "updates": 10}
    params = OptimizationParams(**{**OPTIMIZATION, **changes})
    module = nn.Sequential(nn.Embedding(3, 4), nn.Linear(4, 4), nn.LayerNorm(4))
    module[0].weight.requires_grad_(False)
    optimizer, scheduler = adamw(module, params, 1.0)
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert decay == {
        id(module[1].weight): 0.1,
        id(module[1].bias): 0.0,
        id(module[2].weight): 0.0,
        id(module[2].bias): 0.0,
    }
    rates = []
    for _ in range(3):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert rates == [0.5, 1.0, 1.0]
