"""Snapshots: what is in them, and what is refused."""

import pytest
import torch
from pydantic import TypeAdapter
from torch import nn

from pipelines.frame.errors import CheckpointError
from pipelines.optim.optimizers import build_optimizer
from pipelines.optim.params import Optimizer
from pipelines.training.snapshots import (
    FOLDER,
    keep_snapshots,
    load_snapshot,
    put_into,
    save_snapshot,
    updates_in,
)

ADAM = {"beta1": 0.9, "beta2": 0.98, "epsilon": 1e-8, "weight_decay": 0.0}
GRADIENTS = (1.0, 3.0, -2.0)


def _stepped(section):
    network = nn.Sequential(nn.Linear(2, 2))
    optimizer = build_optimizer(network, TypeAdapter(Optimizer).validate_python(section), 1e-3)
    for size in GRADIENTS:
        for weight in network.parameters():
            weight.grad = torch.full_like(weight, size)
        optimizer.step()
    return network, optimizer


def _average(beta):
    value = 0.0
    for size in GRADIENTS:
        value = beta * value + (1 - beta) * size**2
    return value


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ({"name": "adam", **ADAM}, _average(0.98) / (1 - 0.98**3)),
        ({"name": "adamw", **ADAM, "bias_correction": True}, _average(0.98) / (1 - 0.98**3)),
        ({"name": "adamw", **ADAM, "bias_correction": False}, _average(0.98)),
        ({"name": "lamb", **ADAM, "bias_correction": True}, _average(0.98) / (1 - 0.98**3)),
        (
            {"name": "rmsprop", "beta": 0.9, "epsilon": 1e-8, "weight_decay": 0.0},
            _average(0.9),
        ),
        ({"name": "adagrad", "epsilon": 1e-8, "weight_decay": 0.0}, 14.0),
        ({"name": "sgd", "weight_decay": 0.0}, None),
        ({"name": "muon", "momentum": 0.95, **ADAM}, None),
    ],
)
def test_second_moment_is_what_the_optimizer_divides_by(tmp_path, section, expected):
    network, optimizer = _stepped(section)
    save_snapshot(network, optimizer, tmp_path / "run", 3)
    keep_snapshots(tmp_path / "run", tmp_path / "out")
    assert updates_in(tmp_path / "out") == [3]
    found = load_snapshot(tmp_path / "out", 3)
    assert torch.equal(found.weights["0.weight"], network[0].weight)
    if expected is None:
        assert "0.weight" not in found.second_moment
    else:
        torch.testing.assert_close(
            found.second_moment["0.weight"], torch.full((2, 2), expected), rtol=1e-5, atol=0
        )


def test_a_snapshot_that_is_missing_damaged_or_of_another_network_is_refused(tmp_path):
    network, optimizer = _stepped({"name": "sgd", "weight_decay": 0.0})
    with pytest.raises(CheckpointError, match="there are snapshots of updates none"):
        load_snapshot(tmp_path, 7)
    save_snapshot(network, optimizer, tmp_path / FOLDER, 3)
    save_snapshot(network, optimizer, tmp_path / FOLDER, 3)  # gone on from before
    with pytest.raises(CheckpointError, match="there are snapshots of updates 3: name one"):
        load_snapshot(tmp_path, 7)
    other = nn.Sequential(nn.Linear(3, 2))
    with pytest.raises(CheckpointError, match=r"its weights \(0.weight\) must be those"):
        put_into(other, load_snapshot(tmp_path, 3).weights, tmp_path)
    path = next((tmp_path / FOLDER).iterdir())
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_snapshot(tmp_path, 3)
    keep_snapshots(tmp_path / "none", tmp_path / "out")
    assert not (tmp_path / "out").exists()
