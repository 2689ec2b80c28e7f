"""Which rank a process is, whoever started it; which weights a training leaves."""

import pytest
import torch

from pipelines.hardware import Hardware
from pipelines.sections import read_document, validate
from pipelines.supervision import process_rank
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
    assert (process_rank() > 0) == (rank > 0)


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


def test_kept_validations_are_those_and_the_best():
    from pipelines.optim.params import OptimizationParams
    from pipelines.training.loop import kept, wanted

    params, found = OptimizationParams(**{**OPTIMIZATION, "average": 2}), []
    for update, value in {10: 3.0, 20: 1.0, 30: 2.0, 40: 2.0, 50: 1.0}.items():
        found = kept([*found, {"update": update, "value": value}], params)
    assert [one["update"] for one in found] == [20, 40, 50]
    assert [one["update"] for one in wanted(found, params)] == [40, 50]


def test_checkpoints_on_disk_are_the_newest_and_the_kept_ones(tmp_path, monkeypatch):
    from pipelines.training import checkpoints as module

    class Trainer:
        is_global_zero = True
        global_step = 0

        def save_checkpoint(self, path, weights_only):
            path.write_bytes(b"weights of %d" % self.global_step)

    synced = []
    monkeypatch.setattr(module, "sync", lambda path: synced.append(path.name))
    trainer, folder = Trainer(), module.Checkpoints(tmp_path, keep=2)
    for update in (10, 20, 30, 40):
        trainer.global_step = update
        folder.save(trainer, {"position": {}, "kept": [{"update": 10, "value": 1.0}], "finished": False})
    assert sorted(path.stem for path in tmp_path.glob("*.ckpt")) == [f"update-000000{n}" for n in (10, 30, 40)]
    assert synced[-3:] == ["update-00000040.tmp", "update-00000040.json", tmp_path.name]  # data, seal, then the name
    assert folder.newest().update == 40
    assert folder.at(10).path.read_bytes() == b"weights of 10"


@pytest.mark.parametrize(("update", "minutes", "due"), [(200, 0, True), (199, 14.9, False), (199, 15.1, True)])
def test_checkpoint_is_due_by_updates_or_by_minutes(monkeypatch, update, minutes, due):
    import time
    from types import SimpleNamespace

    from pipelines.training.loop import TrainingLoop

    shipped = validate(read_document(ROOT / "params.yaml"), "hardware", Hardware)
    loop = TrainingLoop(SimpleNamespace(hardware=shipped), None, None, None, None)
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 60 * minutes)
    assert loop._checkpoint_due(update) is due


def test_speed_counts_tokens_padding_waiting_and_operations(monkeypatch):
    import time
    from types import SimpleNamespace

    from pipelines.training.module import Cost
    from pipelines.training.speed import Speed

    clock, loader = [100.0], SimpleNamespace(waited_s=7.0)
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    speed = Speed(loader, matmul_flops=1e6, world_size=1)
    for _ in range(2):
        speed.add(Cost(tokens=80, slots=100, flops=500_000))
    clock[0], loader.waited_s = 104.0, 8.0
    found = speed.read(torch.device("cpu"))
    assert {name: found[name] for name in ("tokens_per_s", "padding_share", "loader_wait_share", "mfu")} == {
        "tokens_per_s": 40.0,
        "padding_share": pytest.approx(0.2),
        "loader_wait_share": 0.25,
        "mfu": 0.25,
    }
    assert found["memory_mib"] > 10


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


def test_equal_bleu_is_decided_by_loss():
    """Answers of one or two words have no 4-gram: BLEU is 0 at every validation."""
    from pipelines.optim.params import OptimizationParams
    from pipelines.training.loop import best, wanted

    params = OptimizationParams(**{**OPTIMIZATION, "select": "best"})
    found = [{"update": update, "value": [-0.0, loss]} for update, loss in ((1, 3.0), (2, 2.0), (3, 2.5), (4, 2.0))]
    assert best(found)["update"] == 2
    assert [one["update"] for one in wanted([*found, {"update": 5, "value": [-7.0, 9.0]}], params)] == [5]
