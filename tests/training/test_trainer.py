"""Which rank a process is, whoever started it."""

import pytest

from pipelines.hardware import Hardware
from pipelines.sections import read_document, validate
from pipelines.training.trainer import rank_and_world_size
from tests.conftest import ROOT

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
