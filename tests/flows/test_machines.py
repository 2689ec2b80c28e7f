"""What machines of a run say to each other, through a real store, without trainings."""

import os
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import pytest

from flows.nodes import join as joining
from flows.nodes.child import Child
from flows.nodes.place import Place, place, without_ranks
from pipelines.frame.errors import CheckpointError, ParamsError, PeerMissing
from pipelines.frame.hardware import Hardware
from pipelines.frame.nodes import KEY, MACHINES, STORE, UPDATE, Offer, require_same_key
from pipelines.frame.params_reader import read_params, validate
from pipelines.frame.processes import PoliteStop
from pipelines.training import nodes as training_nodes
from pipelines.training.nodes import offer_training
from tests.conftest import ROOT, free_port
from tests.machines import offer

TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "run", "TORCHELASTIC_USE_AGENT_STORE": "True", "RANK": "1",
    "WORLD_SIZE": "2", "GROUP_RANK": "1", "GROUP_WORLD_SIZE": "2", "LOCAL_RANK": "0",
    "LOCAL_WORLD_SIZE": "1", "MASTER_ADDR": "machine1", "MASTER_PORT": "29500",
}  # fmt: skip
SLURM = {
    "SLURM_JOB_ID": "71234", "SLURM_PROCID": "0", "SLURM_NTASKS": "3", "SLURM_NODEID": "0",
    "SLURM_STEP_NODELIST": "gpu[07-09]", "SLURM_STEP_TASKS_PER_NODE": "1(x3)",
}  # fmt: skip


@pytest.mark.parametrize(
    ("variables", "command", "expected"),
    [
        (TORCHRUN, ["make", "run"], Place(2, True, "machine1", 29500, False)),
        (TORCHRUN, [], Place(2, False, "machine1", 29500, False)),
        ({**TORCHRUN, "RANK": "0"}, [], Place(2, False, "machine1", 29500, False)),
        (
            {**TORCHRUN, "RANK": "0", "TORCHELASTIC_USE_AGENT_STORE": "False"},
            [],
            Place(2, False, "machine1", 29500, True),
        ),
        (SLURM, ["make", "run"], Place(3, True, "gpu07", 16234, True)),
        ({**SLURM, "SLURM_PROCID": "2"}, ["make", "run"], Place(3, False, "gpu07", 16234, False)),
        (
            {**SLURM, "MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "9"},
            ["x"],
            Place(3, True, "10.0.0.1", 9, True),
        ),
        ({**SLURM, **TORCHRUN}, ["x"], Place(2, True, "machine1", 29500, False)),
    ],
)
def test_a_machine_knows_its_place(variables, command, expected):
    assert place(command, variables) == expected
    assert not set(without_ranks({**variables, "PATH": "x"})) & {
        "RANK", "WORLD_SIZE", "MASTER_ADDR", "TORCHELASTIC_RUN_ID", "SLURM_NTASKS", "SLURM_PROCID",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({}, "torchrun or srun ('none') must start it"),
        ({**TORCHRUN, "LOCAL_WORLD_SIZE": "8"}, "processes ('8') must be one on each machine"),
        ({**SLURM, "SLURM_STEP_TASKS_PER_NODE": "8(x3)"}, "--ntasks-per-node=1"),
    ],
)
def test_a_start_that_cannot_be_is_told(variables, told):
    with pytest.raises(ParamsError) as error:
        place(["make", "run"], variables)
    assert told in str(error.value)
    with pytest.raises(ParamsError, match=r"must be given; srun python -m flows\.nodes"):
        place([], {**SLURM, "SLURM_PROCID": "1"})


def _hardware(**more: Any) -> Hardware:
    shipped = validate(read_params(ROOT / "params.yaml"), "hardware", Hardware)
    return shipped.model_copy(update={"accelerator": "cpu", "num_nodes": 2, **more})


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """No variable of a launcher, and none that stays."""
    ours = (STORE, MACHINES, KEY, UPDATE)
    rest = {
        name: value
        for name, value in without_ranks(os.environ).items()
        if name not in ours and not name.startswith("SLURM_")
    }
    with patch.dict(os.environ, rest, clear=True):
        yield monkeypatch


def test_more_machines_than_the_run_has_are_refused(alone):
    for environ, machines in (({}, 1), ({MACHINES: "2", STORE: "127.0.0.1:1"}, 2)):
        os.environ.update(environ)
        with pytest.raises(ParamsError) as error:
            offer_training("bert", "m", "key", 0, _hardware(num_nodes=3))
        assert f"hardware.num_nodes (3) must be at most the machines of this run ({machines})" in (
            str(error.value)
        )
    os.environ["MASTER_ADDR"] = "machine1"  # somebody else starts the ranks
    offer_training("bert", "m", "key", 0, _hardware(num_nodes=3))


def test_a_training_waits_for_the_others_and_tells_them_all(store, alone, capsys):
    alone.setattr(sys, "argv", ["finetune", "gru"])
    os.environ.update({STORE: f"127.0.0.1:{store.port}", MACHINES: "3"})
    waiting = threading.Thread(
        target=offer_training,
        args=("seq2seq@gru", "pipelines.seq2seq.finetune", "a1", 7, _hardware()),
    )
    waiting.start()
    while not store.check(["offer/1"]):
        time.sleep(0.01)
    offer = Offer.read(store.get("offer/1"))
    assert offer.command == ["pipelines.seq2seq.finetune", "gru"]
    assert (offer.instance, offer.key, offer.machines) == ("seq2seq@gru", "a1", 2)
    assert offer.update == 7
    assert (offer.pid, offer.folder) == (os.getpid(), os.getcwd())
    assert waiting.is_alive()
    store.add("taken/1", 1)
    waiting.join(timeout=20)
    assert not waiting.is_alive()
    assert os.environ["MASTER_PORT"] == str(offer.port)
    assert (os.environ["MASTER_ADDR"], os.environ["NODE_RANK"]) == ("127.0.0.1", "0")


@pytest.mark.parametrize(
    ("accelerator", "devices", "offered"), [("auto", 2, ["4", "5"]), ("cpu", 2, [])]
)
def test_a_training_offers_the_gpus_it_takes(store, alone, accelerator, devices, offered):
    alone.setenv("CUDA_VISIBLE_DEVICES", "4,5,6,7")
    os.environ.update({STORE: f"127.0.0.1:{store.port}", MACHINES: "2"})
    store.add("taken/1", 1)
    hardware = _hardware(accelerator=accelerator, devices=devices)
    offer_training("bert", "m", "key", 0, hardware)
    assert Offer.read(store.get("offer/1")).gpus == offered


def test_a_training_that_nobody_joins_says_so(store, alone):
    os.environ.update({STORE: f"127.0.0.1:{store.port}", MACHINES: "2"})
    alone.setattr(training_nodes, "PATIENCE_S", 0.3)
    with pytest.raises(PeerMissing) as error:
        offer_training("bert", "m", "key", 0, _hardware())
    assert "bert: machines (1) must come within" in str(error.value)
    os.environ[STORE] = f"127.0.0.1:{free_port()}"
    with pytest.raises(PeerMissing) as error:
        offer_training("bert", "m", "key", 0, _hardware())
    assert "must be the address of the first machine's store" in str(error.value)


def test_a_machine_that_sees_other_files_does_not_join(alone):
    require_same_key("a1")
    os.environ[KEY] = "a1"
    require_same_key("a1")
    with pytest.raises(ParamsError) as error:
        require_same_key("b2")
    assert "let all machines work in one shared folder" in str(error.value)


@pytest.mark.parametrize(
    ("theirs", "used", "mine", "expected"),
    [
        ("0,1,2,3", ["2", "3"], "4,5,6,7", "6,7"),
        ("GPU-a,GPU-b", ["GPU-b"], "GPU-x,GPU-y", "GPU-y"),
        ("", [], "0,1", ""),  # a training on processors
    ],
)
def test_a_machine_uses_the_gpus_in_the_places_of_the_first_ones(
    store, process, monkeypatch, theirs, used, mine, expected
):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", mine)
    seen: dict[str, str] = {}
    monkeypatch.setattr(
        joining, "Child", lambda command, environment, folder: seen.update(environment)
    )
    store.set("gpus", theirs)
    joining._start(store, Offer.read(offer(process, gpus=used).encode()), 1)
    assert seen["CUDA_VISIBLE_DEVICES"] == expected
    assert (seen["NODE_RANK"], seen["MASTER_PORT"], seen[KEY]) == ("1", "1", "k")


@pytest.mark.parametrize(
    ("offered", "told"),
    [
        ({"gpus": ["4", "5"]}, "GPUs ('0,1') must be here what they are on the first machine"),
        ({"gpus": ["GPU-a"]}, "start machines with the same GPUs"),
        ({"folder": "/no/such/folder"}, "folder ('/no/such/folder') must be here too"),
    ],
)
def test_a_machine_that_differs_does_not_join(store, process, monkeypatch, capsys, offered, told):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    store.set("gpus", "0,1,2,3,4,5")
    store.add("offers", 1)
    store.set("offer/1", offer(process, **offered))
    joined: list[Any] = []
    assert joining._take_offers(store, 0, joined) == 1
    assert (joined, store.get("left/1/1")) == ([], b"2")
    assert told in capsys.readouterr().err


def test_a_machine_waits_until_it_sees_the_checkpoint(tmp_path, alone):
    training_nodes.await_checkpoint(tmp_path / "none")
    os.environ[UPDATE] = "12"
    for update in (5, 12):
        (tmp_path / f"update-{update:08d}.ckpt").touch()
    training_nodes.await_checkpoint(tmp_path)
    os.environ[UPDATE] = "13"
    alone.setattr(training_nodes, "_SEEN_S", 0.1)
    with pytest.raises(CheckpointError) as error:
        training_nodes.await_checkpoint(tmp_path)
    assert "newest (12) must hold update 13" in str(error.value)


def test_offers_are_joined_once_by_as_many_as_are_wanted(store, process, monkeypatch):
    started: list[tuple[str, int]] = []
    monkeypatch.setattr(
        joining, "_start", lambda store, offer, rank: started.append((offer.instance, rank))
    )
    for number, name in enumerate("abc", start=1):
        store.add("offers", 1)
        store.set(f"offer/{number}", offer(process, instance=name))
    store.set("closed/1", "")
    joined: list[Any] = []
    tried = joining._take_offers(store, 0, joined)
    assert (tried, started) == (3, [("b", 1), ("c", 1)])
    assert joining._take_offers(store, 0, []) == 3  # another machine, which is one too many
    assert started == [("b", 1), ("c", 1)]
    assert joining._take_offers(store, tried, joined) == 3


def test_a_training_that_is_at_work_when_the_run_ends_is_waited_for(
    store, process, monkeypatch, capsys
):
    """The first machine may end the run before this one has seen its own process end."""

    def start(*_: object) -> Child:
        store.set("ended", "0")
        return Child([sys.executable, "-c", "import time; time.sleep(1)"], os.environ, ".")

    monkeypatch.setattr(joining, "_start", start)
    store.add("offers", 1)
    store.set("offer/1", offer(process))
    store.set("lead", f"127.0.0.1:{store.port}")
    assert joining.join(Place(2, False, "127.0.0.1", 1, False), store, PoliteStop()) == 0
    assert store.check(["gone/1"])
    assert capsys.readouterr().out.splitlines()[2:] == [
        "bert: joins as machine 2 of 2",
        "bert: left with exit code 0",
        "the run has ended with exit code 0",
    ]


def test_the_preflight_says_how_several_machines_are_started(alone):
    from pipelines.preflight import machine

    params_file = read_params(ROOT / "params.yaml")
    params_file.root["hardware"] |= {"accelerator": "cpu", "num_nodes": 2}
    alone.setattr(machine.socket, "gethostbyname", lambda name: "127.0.1.1")
    found = {one.severity: one.message for one in machine.devices(params_file, run=True)}
    assert "start it on each by torchrun or srun with `-m flows.nodes`" in found["error"]
    assert "set GLOO_SOCKET_IFNAME" in found["warning"]


def test_the_preflight_says_that_machines_stand_idle(alone):
    from pipelines.preflight import machine

    params_file = read_params(ROOT / "params.yaml")
    params_file.root["hardware"]["accelerator"] = "cpu"
    os.environ[MACHINES] = "2"
    found = [one.message for one in machine.devices(params_file) if one.severity == "warning"]
    assert "hardware.num_nodes (1) must be that of the machines of this run (2)" in found[0]
