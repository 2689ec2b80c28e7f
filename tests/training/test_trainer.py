"""Which rank a process is, whoever started it; which weights a training leaves."""

import pytest
import torch

from pipelines.hardware import Hardware
from pipelines.sections import read_document, validate
from pipelines.training.trainer import rank_and_world_size
from tests.conftest import ROOT
from tests.optimization import OPTIMIZATION

_VARIABLES = ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID")


@pytest.mark.parametrize(
    ("variables", "rank"),
    [
        ({}, 0),
        ({"LOCAL_RANK": "1", "NODE_RANK": "1"}, 3),
        ({"RANK": "2", "LOCAL_RANK": "0"}, 2),
        ({"SLURM_PROCID": "3"}, 3),
    ],
    ids=["launched by hand", "Lightning", "torchrun", "SLURM"],
)
def test_rank_comes_from_the_launcher(monkeypatch, variables, rank):
    for name in _VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    shipped = validate(read_document(ROOT / "params.yaml"), "hardware", Hardware)
    assert rank_and_world_size(shipped.model_copy(update={"devices": 2, "num_nodes": 2})) == (rank, 4)
    assert rank_and_world_size(shipped) == (0, 1)


@pytest.mark.parametrize(
    ("select", "average", "updates"), [("last", 1, [40]), ("last", 3, [20, 30, 40]), ("best", 2, [20, 30])]
)
def test_wanted_validations_are_the_last_or_the_best(select, average, updates):
    from pipelines.optim.params import OptimizationParams
    from pipelines.training.loop import wanted

    params = OptimizationParams(**{**OPTIMIZATION, "select": select, "average": average})
    values = {10: 3.0, 20: 1.0, 30: 2.0, 40: 2.0}
    kept: list[dict[str, float]] = []
    for update, value in values.items():
        kept = wanted([*kept, {"update": update, "value": value}], params)
    assert [one["update"] for one in kept] == updates


def test_several_checkpoints_leave_the_mean_of_their_weights(tmp_path):
    from pipelines.training.checkpoints import Checkpoint
    from pipelines.training.trainer import _evaluated

    class Network(torch.nn.Linear):
        device = torch.device("cpu")

        def validate(self):
            return {"valid_loss": self.weight.sum().item()}

    found, module = [], Network(2, 3)
    for update in (1, 2, 3):
        path = tmp_path / f"{update}.ckpt"
        torch.save(
            {"state_dict": {"weight": torch.full((3, 2), float(update)), "bias": torch.ones(3) * update**2}}, path
        )
        found.append(Checkpoint(update, path, {}))
    assert _evaluated(module, found) == {"valid_loss": 12.0}
    torch.testing.assert_close(module.bias, torch.full((3,), 14 / 3))
