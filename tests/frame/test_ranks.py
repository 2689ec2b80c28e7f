"""Which rank a process is: one answer, which is Lightning's, whoever started it."""

import subprocess
import sys

import pytest

from pipelines.frame.errors import ParamsError
from pipelines.frame.hardware import Hardware
from pipelines.frame.params_reader import ParamsFile, read_params, validate
from pipelines.frame.ranks import launch, process_rank, rank_and_world_size
from pipelines.preflight import machine
from tests.conftest import ROOT

_PREFIXES = (
    "RANK",
    "LOCAL_RANK",
    "NODE_RANK",
    "GROUP_RANK",
    "WORLD_SIZE",
    "SLURM_",
    "TORCHELASTIC_",
    "MASTER_",
)
TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "x",
    "RANK": "2",
    "LOCAL_RANK": "0",
    "GROUP_RANK": "1",
    "WORLD_SIZE": "4",
}
SLURM = {
    "SLURM_NTASKS": "4", "SLURM_NTASKS_PER_NODE": "2", "SLURM_NNODES": "2", "SLURM_PROCID": "3",
    "SLURM_LOCALID": "1",
    "SLURM_NODEID": "1", "SLURM_JOB_NAME": "train", "SLURM_NODELIST": "127.0.0.1",
    "SLURM_JOB_ID": "7",
}  # fmt: skip
INTERACTIVE = {**SLURM, "SLURM_JOB_NAME": "bash", "SLURM_PROCID": "0"}
LIGHTNING = {"LOCAL_RANK": "1", "NODE_RANK": "1"}
CASES = {
    "by hand": ({}, "lightning", 0),
    "Lightning's child": (LIGHTNING, "lightning", 3),
    "torchrun": (TORCHRUN, "torchrun", 2),
    "SLURM": (SLURM, "slurm", 3),
    "torchrun inside of SLURM": ({**SLURM, **TORCHRUN}, "torchrun", 2),
    "interactive SLURM": (INTERACTIVE, "lightning", 0),
    "Lightning's child in interactive SLURM": ({**INTERACTIVE, **LIGHTNING}, "lightning", 3),
    "named interactive": (
        {**INTERACTIVE, **LIGHTNING, "SLURM_JOB_NAME": "interactive"},
        "lightning",
        3,
    ),
}


def _hardware(devices: int = 2, num_nodes: int = 2) -> Hardware:
    shipped = validate(read_params(ROOT / "params.yaml"), "hardware", Hardware)
    return shipped.model_copy(
        update={"devices": devices, "num_nodes": num_nodes, "accelerator": "cpu"}
    )


@pytest.fixture(params=CASES)
def case(request, monkeypatch):
    """An environment; what launches by it, and the rank of four."""
    variables, by, rank = CASES[request.param]
    _set(monkeypatch, variables)
    return by, rank


def _set(monkeypatch, variables):
    import os

    for name in list(os.environ):
        if name.startswith(_PREFIXES):
            monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def test_rank_is_the_launchers(case):
    by, rank = case
    assert launch().by == by
    assert rank_and_world_size(_hardware()) == (rank, 4)
    assert (process_rank() > 0) == (rank > 0)


def test_rank_is_that_of_lightnings_own_environment(case):
    """The Trainer without any plugin of ours, and with it, makes the same choice."""
    import lightning.pytorch as lightning

    by, rank = case
    trainer = lightning.Trainer(
        accelerator="cpu", devices=2, num_nodes=2, strategy="ddp", logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    environment = trainer._accelerator_connector.cluster_environment
    names = {
        "torchrun": "TorchElasticEnvironment",
        "slurm": "SLURMEnvironment",
        "lightning": "LightningEnvironment",
    }
    assert type(environment).__name__ == names[by]
    theirs = (
        environment.node_rank() * 2 + environment.local_rank()
        if by == "lightning"
        else environment.global_rank()
    )
    assert theirs == rank


@pytest.mark.parametrize(
    ("variables", "devices", "message"),
    [
        (
            {**SLURM, "SLURM_NTASKS": "1", "SLURM_PROCID": "0"},
            2,
            r"SLURM_NTASKS \(1\) must be .* \(2 x 1\); give srun",
        ),
        (
            {**SLURM, "SLURM_NTASKS": "4", "SLURM_PROCID": "1"},
            1,
            r"SLURM_NTASKS \(4\) must be .* \(1 x 1\)",
        ),
        (
            {**TORCHRUN, "WORLD_SIZE": "3"},
            2,
            r"WORLD_SIZE \(3\) must be .* \(2 x 1\); start torchrun with",
        ),
        ({**TORCHRUN, "WORLD_SIZE": "2", "RANK": "1"}, 1, r"WORLD_SIZE \(2\) must be .* \(1 x 1\)"),
    ],
)
def test_another_number_of_processes_than_hardware_says_is_refused(
    monkeypatch, variables, devices, message
):
    """Else two ranks of which one is missing would train on half of each batch."""
    _set(monkeypatch, variables)
    with pytest.raises(ParamsError, match=message):
        rank_and_world_size(_hardware(devices, 1))
    params_file = read_params(ROOT / "params.yaml")
    params_file.root["hardware"] |= {"devices": devices, "accelerator": "cpu"}
    monkeypatch.setattr(machine, "_group", lambda **_: iter(()))
    found = [one.message for one in machine.devices(ParamsFile(params_file.path, params_file.root))]
    assert any("must be hardware.devices x hardware.num_nodes" in told for told in found)


@pytest.mark.parametrize(
    ("variables", "name"),
    [
        ({"SLURM_NTASKS": ""}, "SLURM_NTASKS"),
        ({"SLURM_NTASKS": "2(x3)"}, "SLURM_NTASKS"),
        ({**SLURM, "SLURM_PROCID": ""}, "SLURM_PROCID"),
        ({"LOCAL_RANK": "a"}, "LOCAL_RANK"),
        ({"NODE_RANK": "-1"}, "NODE_RANK"),
        ({"TORCHELASTIC_RUN_ID": "x"}, "RANK"),
    ],
)
def test_a_variable_that_is_no_number_is_named(monkeypatch, variables, name):
    _set(monkeypatch, variables)
    for ask in (process_rank, lambda: rank_and_world_size(_hardware())):
        with pytest.raises(ParamsError, match=rf"environment: {name} \(.*\) must be a number"):
            ask()


def test_the_batch_step_of_a_job_of_several_tasks_may_train_alone(monkeypatch):
    _set(monkeypatch, {**SLURM, "SLURM_PROCID": "0"})
    assert rank_and_world_size(_hardware(1, 1)) == (0, 1)


@pytest.mark.parametrize(
    ("size", "backend", "printed", "code"),
    [(2, "gloo", "saved", 7), (1, "gloo", "saved, left 7, shut down", 0),
     (2, "nccl", "saved, left 7, shut down", 0)],
)  # fmt: skip
def test_one_of_several_ranks_ends_without_python_s_shutdown(size, backend, printed, code):
    """In which a thread of gloo's can end it with SIGABRT; what was printed is not lost."""
    script = (
        "import atexit, sys, types\n"
        "group = types.SimpleNamespace(is_available=lambda: True, is_initialized=lambda: True,\n"
        f"    get_world_size=lambda: {size}, get_backend=lambda: {backend!r})\n"
        "sys.modules['torch.distributed'] = group\n"
        "atexit.register(lambda: print(', shut down', end=''))\n"
        "from pipelines.frame.processes import leave_rank\n"
        "print('saved', end='')\n"
        "print(f', left {leave_rank(7)}', end='')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.returncode) == (printed, code)
