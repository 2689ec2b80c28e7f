"""The compiler as trainings use it, and what comes with it."""

import sys

import pytest
import torch
import torch._dynamo

from pipelines.frame import hardware as frame_hardware
from pipelines.frame.errors import ParamsError
from pipelines.frame.hardware import Hardware, loader_processes
from pipelines.frame.params_reader import read_params, validate
from pipelines.training.compiling import compiled
from pipelines.training.sharing import Agreed
from tests.conftest import ROOT, run_in


def test_a_machine_without_a_compiler_is_told_what_to_do(monkeypatch):
    def broken(function, **_):
        def call(*_):
            raise torch._dynamo.exc.InternalTorchDynamoError("no compiler: g++\nand much more")

        return call

    monkeypatch.setattr(torch, "compile", broken)
    with pytest.raises(ParamsError) as error:
        compiled(torch.sin)(torch.zeros(1))
    message = str(error.value)
    assert message.startswith("params.yaml: hardware.compile (True) must be false where")
    assert "no compiler: g++" in message
    assert "much more" not in message
    assert "install a C++ compiler" in message


def test_sizes_are_compiled_one_by_one(monkeypatch):
    seen = []

    def backend(graph, examples):
        seen.append([tuple(example.shape) for example in examples])
        return graph.forward

    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda f, **more: real(f, backend=backend, **more))
    double = compiled(lambda x: 2 * x)
    for size in (3, 4, 3, 5, 4):
        assert double(torch.ones(size)).tolist() == [2.0] * size
    assert seen == [[(3,)], [(4,)], [(5,)]]


def test_what_is_compiled_is_kept_and_chosen_without_timing_as_the_user_says(tmp_path):
    """A process of its own: torch reads the variables when it is imported."""
    script = (
        "from pathlib import Path\n"
        "from pipelines.frame.hardware import settle_compiler\n"
        f"settle_compiler(Path({str(tmp_path)!r}), deterministic=DETERMINISTIC)\n"
        "settle_compiler(Path('other'), deterministic=False)\n"
        "import torch._inductor.config as config\n"
        "from torch._inductor.runtime.cache_dir_utils import cache_dir\n"
        "print(cache_dir(), config.deterministic)\n"
    )
    for deterministic in (True, False):
        told = script.replace("DETERMINISTIC", str(deterministic))
        fresh = ("env", "-u", "TORCHINDUCTOR_CACHE_DIR")  # torch sets it where it has compiled
        done = run_in(ROOT, *fresh, sys.executable, "-c", told)
        assert done.stdout.split() == [str(tmp_path), str(deterministic)]


@pytest.mark.parametrize(
    ("num_workers", "cores", "devices", "on_gpu", "expected"),
    [
        ("auto", 16, 1, True, 4),
        ("auto", 16, 8, True, 1),
        ("auto", 2, 1, True, 1),
        ("auto", 1, 1, True, 0),
        ("auto", 16, 1, False, 0),
        (3, 1, 1, False, 3),
        (0, 16, 1, True, 0),
    ],
)
def test_loader_processes(monkeypatch, num_workers, cores, devices, on_gpu, expected):
    shipped = validate(read_params(ROOT / "params.yaml"), "hardware", Hardware)
    hardware = shipped.model_copy(update={"num_workers": num_workers, "devices": devices})
    monkeypatch.setattr(frame_hardware.os, "sched_getaffinity", lambda _: set(range(cores)))
    assert loader_processes(hardware, on_gpu=on_gpu) == expected


@pytest.mark.parametrize("wishes", [[], [False, False], [True, False]])
def test_a_process_alone_agrees_with_itself(wishes):
    agreed = Agreed([7, 0], wishes, torch.device("cpu"))
    assert agreed.totals == [7, 1]
    assert agreed.wishes == wishes
