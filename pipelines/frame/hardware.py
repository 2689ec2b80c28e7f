"""The ``hardware`` section: how a stage computes, never what it learns.

None of these keys is a DVC param, so changing one re-runs nothing. Batches, order and masks do
not depend on them; the last bits may (thread counts and device kinds change the order of sums).
"""

import contextlib
import itertools
import os
import platform
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from pipelines.frame.params_reader import Section


class Hardware(Section):
    """Devices and processes of a stage.

    Attributes:
        num_workers: loader processes of a rank; ``auto`` is `loader_processes`.
        deterministic: kernels that give the same bits each time, without which a resumed training
            is another one on a GPU.
        watch: how closely a training is looked at while it learns.
    """

    accelerator: Literal["auto", "cpu", "gpu"]
    devices: int = Field(ge=1)
    num_nodes: int = Field(ge=1)
    strategy: Literal["auto", "ddp"]
    num_threads: int = Field(ge=1)
    num_workers: Literal["auto"] | Annotated[int, Field(ge=0)]
    micro_batch_size: int = Field(ge=0)
    compile: bool
    deterministic: bool
    watch: Literal["off", "cheap", "full"]
    checkpoint_every: int = Field(ge=1)
    checkpoint_minutes: float = Field(gt=0)
    keep_checkpoints: int = Field(ge=1)


def loader_processes(hardware: Hardware, *, on_gpu: bool) -> int:
    """How many make the batches of a rank: on a GPU, unless it is said, up to four of its share of
    the cores; on a CPU none, for they would take from its training what they give.
    """
    if hardware.num_workers != "auto":
        return hardware.num_workers
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(0, min(4, (cores or 1) // hardware.devices - 1)) if on_gpu else 0


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


def settle_compiler(folder: Path, *, deterministic: bool) -> None:
    """Let PyTorch's compiler keep what it makes, and choose kernels without timing them.

    To be called before torch is imported, which reads these variables once; what the user has set
    stays.

    Args:
        folder: where it is kept, instead of below /tmp.
        deterministic: timing would choose other kernels, of other bits, at another start.
    """
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(folder.resolve()))
    if deterministic:
        os.environ.setdefault("TORCHINDUCTOR_DETERMINISTIC", "1")


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
