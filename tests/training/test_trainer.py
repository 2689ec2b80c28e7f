"""Which weights a training leaves, where, and what its checkpoints hold."""

import contextlib
from types import SimpleNamespace

import pytest
import torch

from pipelines.frame.errors import CheckpointError, PeerLost
from pipelines.frame.hardware import Hardware
from pipelines.frame.params_reader import read_params, validate
from tests.conftest import ROOT
from tests.optimization import OPTIMIZATION


@pytest.mark.parametrize(
    ("select", "average", "updates"),
    [("last", 1, [40]), ("last", 3, [20, 30, 40]), ("best", 2, [20, 30])],
)
def test_wanted_validations_are_the_last_or_the_best(select, average, updates):
    from pipelines.optim.params import OptimizationParams
    from pipelines.training.selection import wanted

    params = OptimizationParams(**{**OPTIMIZATION, "select": select, "average": average})
    values = {10: 3.0, 20: 1.0, 30: 2.0, 40: 2.0}
    kept: list[dict[str, float]] = []
    for update, value in values.items():
        kept = wanted([*kept, {"update": update, "value": value}], params)
    assert [one["update"] for one in kept] == updates


def test_kept_validations_are_those_and_the_best():
    from pipelines.optim.params import OptimizationParams
    from pipelines.training.selection import to_keep, wanted

    params, found = OptimizationParams(**{**OPTIMIZATION, "average": 2}), []
    for update, value in {10: 3.0, 20: 1.0, 30: 2.0, 40: 2.0, 50: 1.0}.items():
        found = to_keep([*found, {"update": update, "value": value}], params)
    assert [one["update"] for one in found] == [20, 40, 50]
    assert [one["update"] for one in wanted(found, params)] == [40, 50]


def test_checkpoints_on_disk_are_the_newest_and_the_kept_ones(tmp_path, monkeypatch):
    from pipelines.training import checkpoints as module

    class Trainer:
        is_global_zero = True
        global_step = 0

        @property
        def strategy(self):
            return self

        def barrier(self):  # other ranks may read it from here on
            assert folder.newest().update == self.global_step

        def save_checkpoint(self, path, weights_only):
            path.write_bytes(b"weights of %d" % self.global_step)

    synced = []
    monkeypatch.setattr(module, "sync", lambda path: synced.append(path.name))
    trainer, folder = Trainer(), module.Checkpoints(tmp_path, keep=2)
    for update in (10, 20, 30, 40):
        trainer.global_step = update
        folder.save(
            trainer, {"position": {}, "kept": [{"update": 10, "value": 1.0}], "finished": False}
        )
    assert sorted(path.stem for path in tmp_path.glob("*.ckpt")) == [
        f"update-000000{n}" for n in (10, 30, 40)
    ]
    # data, seal, then the name
    assert synced[-3:] == [
        "update-00000040.tmp",
        "update-00000040.json",
        tmp_path.name,
    ]
    assert folder.newest().update == 40
    assert folder.at(10).path.read_bytes() == b"weights of 10"


def test_ranks_that_go_on_from_different_checkpoints_do_not_train(monkeypatch):
    from pipelines.training import update as module

    folder = SimpleNamespace(checkpoints="checkpoints")
    loop = module.TrainingLoop(SimpleNamespace(folder=folder), None, None, None, None, "")
    monkeypatch.setattr(module, "gathered", lambda mine: [10, mine[0][1]])
    with pytest.raises(CheckpointError, match=r"not after updates \[10, 5\]"):
        loop.on_train_start(SimpleNamespace(global_rank=1, global_step=5), None)


@pytest.mark.parametrize(
    ("told", "error"),
    [
        ("[pair.cc:553] Connection closed by peer [10.0.0.2]:1. GLHF!", PeerLost),
        ("NCCL error: remote process exited or there was a network error", PeerLost),
        ("NCCL error in: unhandled system error", RuntimeError),  # another try would meet it again
        ("mat1 and mat2 shapes cannot be multiplied", RuntimeError),
    ],
)
def test_a_lost_rank_is_told_from_other_errors(told, error):
    from pipelines.training.trainer import _with_peers

    with pytest.raises(error) as found, _with_peers():
        raise RuntimeError(told)
    assert type(found.value) is error
    assert ("start again to go on" in str(found.value)) == (error is PeerLost)


@pytest.mark.parametrize(("minutes", "due"), [(0, False), (14.9, False), (15.1, True)])
def test_a_checkpoint_is_wished_for_after_some_minutes(monkeypatch, minutes, due):
    import time
    from types import SimpleNamespace

    from pipelines.training.update import TrainingLoop

    shipped = validate(read_params(ROOT / "params.yaml"), "hardware", Hardware)
    run = SimpleNamespace(hardware=shipped, stop=SimpleNamespace(requested=False))
    loop = TrainingLoop(run, None, None, None, None, "")
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 60 * minutes)
    assert loop._wishes() == (False, due)


def test_speed_counts_tokens_padding_waiting_and_operations(monkeypatch):
    import time
    from types import SimpleNamespace

    from pipelines.watch.speed import Cost, Speed

    clock, loader = [100.0], SimpleNamespace(waited_s=7.0)
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    speed = Speed(loader, peak_flops=1e6, world_size=1)
    for _ in range(2):
        speed.add(Cost(tokens=80, slots=100, flops=500_000))
    clock[0], loader.waited_s = 104.0, 8.0
    found = speed.read(torch.device("cpu"))
    assert {
        name: found[name] for name in ("tokens_per_s", "padding_share", "loader_wait_share", "mfu")
    } == {
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
            {
                "state_dict": {
                    "weight": torch.full((3, 2), float(update)),
                    "bias": torch.ones(3) * update**2,
                }
            },
            path,
        )
        found.append(Checkpoint(update, path, {}))
    assert _evaluated(module, found) == {"valid_loss": 12.0}
    torch.testing.assert_close(module.bias, torch.full((3,), 14 / 3))


def test_equal_bleu_is_decided_by_loss():
    """Answers of one or two words have no 4-gram: BLEU is 0 at every validation."""
    from pipelines.optim.params import OptimizationParams
    from pipelines.training.selection import best, wanted

    params = OptimizationParams(**{**OPTIMIZATION, "select": "best"})
    found = [
        {"update": update, "value": [-0.0, loss]}
        for update, loss in ((1, 3.0), (2, 2.0), (3, 2.5), (4, 2.0))
    ]
    assert best(found)["update"] == 2
    assert [
        one["update"] for one in wanted([*found, {"update": 5, "value": [-7.0, 9.0]}], params)
    ] == [5]


@pytest.mark.parametrize("finished", [False, True], ids=["trained", "found finished"])
def test_after_training_the_network_is_where_it_trained(tmp_path, monkeypatch, finished):
    """Lightning moves it to the CPU, where validation of the selected weights and predictions would
    take hours.

    The Trainer is a stand-in whose device is ``meta``; everything else is the product's.
    """
    from pipelines.training import trainer as module

    device = torch.device("meta")
    events = []

    class Standing:
        def __init__(self, **_):
            self.strategy = SimpleNamespace(root_device=device)
            self.global_step = 4

        def fit(self, network, loader, **_):
            loop.finished = True
            loop.measured = {"valid_loss": 1.0}
            loop.validations = [{"update": 4, "value": [1.0]}]

    class Loop(module.TrainingLoop):
        def __init__(self, *arguments):
            nonlocal loop
            super().__init__(*arguments)
            loop = self
            if finished:
                loop.finished, loop.validations = True, [{"update": 3, "value": [1.0]}]

    loop = None
    monkeypatch.setattr(module.lightning, "Trainer", Standing)
    monkeypatch.setattr(module, "TrainingLoop", Loop)
    monkeypatch.setattr(module.Checkpoints, "at", lambda *_: None)
    monkeypatch.setattr(
        module, "_evaluated", lambda network, _: events.append(next(network.parameters()).device)
    )
    network = torch.nn.Linear(2, 2)
    network.updates = 4
    network.params = SimpleNamespace(
        select="last", average=1, optimizer=SimpleNamespace(name="adamw")
    )
    network.meter = None
    hardware = validate(read_params(ROOT / "params.yaml"), "hardware", Hardware)
    stop = SimpleNamespace(install=lambda: None, cooperative=contextlib.nullcontext)
    folder = SimpleNamespace(checkpoints=tmp_path, path=tmp_path)
    run = SimpleNamespace(
        hardware=hardware, folder=folder, stop=stop, trial=None, work=tmp_path / "work"
    )
    run.resume_at = lambda _: None
    module.train(network, SimpleNamespace(fingerprint=""), run)
    assert next(network.parameters()).device == device
    assert events == ([device] if finished else [])


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_a_meter_goes_on_over_another_number_of_ranks(ranks):
    """Sums of two ranks: rank by rank where there are two again, else all of them on the first."""
    from pipelines.training.checkpoints import MeterStates
    from pipelines.training.meter import Meter

    saved = [{"loss": torch.tensor([6.0, 2.0])}, {"loss": torch.tensor([3.0, 1.0])}]
    sums = []
    for rank in range(ranks):
        states = MeterStates(meter := Meter())
        states.load_state_dict({"ranks": saved})
        states.on_train_start(SimpleNamespace(world_size=ranks, global_rank=rank), None)
        sums.append(meter.state_dict()["loss"])
    assert torch.stack(sums).sum(0).tolist() == [9.0, 3.0]
    assert ranks != 2 or sums[1].tolist() == [3.0, 1.0]
