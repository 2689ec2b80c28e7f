"""The ``hardware`` section: how a stage computes, never what it learns.

None of these keys is a DVC param, so changing one re-runs nothing. Batches, order and masks do
not depend on them; the last bits may (thread counts and device kinds change the order of sums).
"""

import contextlib
import itertools
import os
import platform
from pathlib import Path
from typing import Literal

from pydantic import Field

from pipelines.frame.params_reader import Section


class Hardware(Section):
    """Devices and processes of a stage."""

    accelerator: Literal["auto", "cpu", "gpu"]
    devices: int = Field(ge=1)
    num_nodes: int = Field(ge=1)
    strategy: Literal["auto", "ddp"]
    num_threads: int = Field(ge=1)
    num_workers: int = Field(ge=0)
    micro_batch_size: int = Field(ge=0)
    compile: bool
    checkpoint_every: int = Field(ge=1)
    checkpoint_minutes: float = Field(gt=0)
    keep_checkpoints: int = Field(ge=1)


def limit_threads(num_threads: int) -> None:
    """Give every numeric library of this process the same number of threads.

    To be called before the libraries are imported; they read these variables once.
    """
    for variable in (
        "OMP_NUM_THREADS",
        "MKL_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "RAYON_NUM_THREADS",
    ):
        os.environ[variable] = str(num_threads)


def cpu_name() -> str:
    """Model of this machine's processor."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def visible_gpus() -> list[str]:
    """The NVIDIA devices this process may use, as CUDA names them.

    Those of an inherited CUDA_VISIBLE_DEVICES, numbers, UUIDs or MIG names, up to the first that is
    none, as CUDA reads it; else all that the system has.
    """
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is None:
        return [str(number) for number in range(len(list(Path("/dev").glob("nvidia[0-9]*"))))]
    names = [name.strip() for name in given.split(",")]
    return list(itertools.takewhile(lambda name: name and not name.startswith("-"), names))
