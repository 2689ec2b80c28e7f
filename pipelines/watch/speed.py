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

_SIDE, _SMALL = 1536, 256  # of the square matrices whose product is timed
_PATIENCE_S = 0.2  # for one product: a CPU without bf16 takes many seconds for a large one


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
        matmul_flops: floating-point operations per second of a matrix product on this device.
        world_size: processes, each with its own device.
    """

    def __init__(self, loader: TimedLoader, matmul_flops: float, world_size: int) -> None:
        self._loader, self._matmul_flops, self._world_size = loader, matmul_flops, world_size
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
        operations, padding and recomputation not counted, over what the devices do in a plain
        matrix product of the same precision.
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
            rates["mfu"] = flops / seconds / (self._matmul_flops * self._world_size)
        self.restart()
        return rates


def matmul_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Floating-point operations per second of a square matrix product, the best of a few."""
    small = _rate(device, dtype, _SMALL)
    return _rate(device, dtype, _SIDE) if 2 * _SIDE**3 / small < _PATIENCE_S else small


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
