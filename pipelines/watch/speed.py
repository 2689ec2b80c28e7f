"""What a training costs: tokens, padding, waiting, floating-point operations. Timings,
never part of an out.
"""

import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import DataLoader

_SMALL, _SIDES = 256, (1536, 4096, 8192)  # of the square matrices whose product is timed
_PATIENCE_S = 0.2  # for one product: a CPU without bf16 takes many seconds for a large one

# Name of a device → dense operations per second in bfloat16 and in float32 without TF32, of
# NVIDIA's data sheets.
_A100 = (312e12, 19.5e12)
_DATA_SHEETS = {
    "NVIDIA H100 80GB HBM3": (989e12, 67e12),
    "NVIDIA H100 PCIe": (756e12, 51e12),
    "NVIDIA H200": (989e12, 67e12),
    "NVIDIA A100-SXM4-40GB": _A100,
    "NVIDIA A100-SXM4-80GB": _A100,
    "NVIDIA A100-PCIE-40GB": _A100,
    "NVIDIA A100 80GB PCIe": _A100,
    "NVIDIA L40S": (362e12, 91.6e12),
    "NVIDIA L4": (121e12, 30.3e12),
}


@dataclass(frozen=True)
class Cost:
    """What a batch takes: real tokens, slots they were padded to,
    useful floating-point operations.
    """

    tokens: int
    slots: int
    flops: int


class TimedLoader:
    """A loader that adds up how long each batch was waited for."""

    def __init__(self, loader: DataLoader[Any]) -> None:
        self._loader = loader
        self.waited_s = 0.0

    def __iter__(self) -> Iterator[Any]:
        batches = iter(self._loader)
        while True:
            started = time.perf_counter()
            try:
                batch = next(batches)
            except StopIteration:
                return
            finally:
                self.waited_s += time.perf_counter() - started
            yield batch


class Speed:
    """Counts between two points of the curves.

    Args:
        loader: whose waiting is told.
        peak_flops: floating-point operations per second that this device could do, see `peak`.
        world_size: processes, each with its own device.
    """

    def __init__(self, loader: TimedLoader, peak_flops: float, world_size: int) -> None:
        self._loader, self._peak_flops, self._world_size = loader, peak_flops, world_size
        self.restart()

    def restart(self) -> None:
        """Forget what was counted and count from now on."""
        self._counts = [0, 0, 0]
        self._waited, self._clock = self._loader.waited_s, time.perf_counter()

    def add(self, cost: Cost) -> None:
        """One more batch of this rank."""
        self._counts = [
            count + more
            for count, more in zip(self._counts, (cost.tokens, cost.slots, cost.flops), strict=True)
        ]

    def read(self, device: torch.device) -> dict[str, float]:
        """Rates of all ranks together since the last reading; starts anew.

        ``mfu`` is the model's FLOPs utilisation (Chowdhery et al. 2022, appendix B): useful
        operations, padding and recomputation not counted, over what the devices could do (`peak`).
        """
        seconds = max(1e-9, time.perf_counter() - self._clock)
        counts = torch.tensor(self._counts, dtype=torch.float64, device=device)
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(counts)
        tokens, slots, flops = counts.tolist()
        rates = {
            "tokens_per_s": tokens / seconds,
            "padding_share": 1.0 - tokens / max(1.0, slots),
            "loader_wait_share": (self._loader.waited_s - self._waited) / seconds,
            "memory_mib": _memory_mib(device),
        }
        if flops:
            rates["flops_per_s"] = flops / seconds
            rates["mfu"] = flops / seconds / (self._peak_flops * self._world_size)
        self.restart()
        return rates


@dataclass(frozen=True)
class Peak:
    """What a device could do, of which ``mfu`` is the share that is done.

    Attributes:
        flops: floating-point operations per second.
        source: where that number is from.
    """

    flops: float
    source: str


def peak(device: torch.device, dtype: torch.dtype) -> Peak:
    """The data sheet's where the device is known, else what a large product reaches."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        if name in _DATA_SHEETS:
            bfloat16, float32 = _DATA_SHEETS[name]
            return Peak(bfloat16 if dtype == torch.bfloat16 else float32, f"data sheet, {name}")
    side, flops = largest_product(device, dtype)
    return Peak(flops, f"measured, a product of {side} x {side}")


def largest_product(device: torch.device, dtype: torch.dtype) -> tuple[int, float]:
    """Side and speed of the fastest of some square products: each larger one is tried as long as it
    is likely to take less than a fifth of a second, on a CPU up to 1,536.
    """
    best = (_SMALL, _rate(device, dtype, _SMALL))
    for side in _SIDES if device.type == "cuda" else _SIDES[:1]:
        if 2 * side**3 / best[1] > _PATIENCE_S:
            break
        best = max(best, (side, _rate(device, dtype, side)), key=lambda one: one[1])
    return best


def _rate(device: torch.device, dtype: torch.dtype, side: int) -> float:
    a = torch.ones(side, side, device=device, dtype=dtype)
    best = float("inf")
    for _ in range(5):
        started = time.perf_counter()
        a @ a
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        best = min(best, time.perf_counter() - started)
    return 2 * side**3 / best


def _memory_mib(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
