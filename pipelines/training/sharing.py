"""Work on fixed items shared out among the ranks, with the same result for any number of them.

Item i is measured by rank i mod W. Every rank then has what all have found, in the order of the
items, and adds it up in that order: so the sums are those of one rank, to the bit.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar, overload

import torch
from torch import Tensor

from pipelines.training.meter import Weighted, as_numbers

T = TypeVar("T")
Pair = tuple[float, float]


class MadeWhenAsked(Sequence[T]):
    """A sequence whose items are made each time they are asked for, and never kept.

    Args:
        count: of items.
        make: item of a number, the same one each time.
    """

    def __init__(self, count: int, make: Callable[[int], T]) -> None:
        self._count, self._make = count, make

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, number: int) -> T: ...
    @overload
    def __getitem__(self, number: slice) -> Sequence[T]: ...
    def __getitem__(self, number: int | slice) -> T | Sequence[T]:
        """Make one item, or those of a slice."""
        if isinstance(number, slice):
            return [self._make(one) for one in range(self._count)[number]]
        return self._make(range(self._count)[number])


class Agreed:
    """Sums and wishes of all ranks, by one exchange that no rank waits for until it asks.

    Ranks must not part ways: they do what one of them has wished, after the same update.

    Args:
        counts: of this rank.
        wishes: of this rank.
        device: computes the exchange.

    Attributes:
        totals: sums of the counts over the ranks, at least 1: numbers in a process alone, tensors
            among several.
    """

    def __init__(self, counts: Sequence[int], wishes: Sequence[bool], device: torch.device) -> None:
        self._said = torch.tensor([float(wish) for wish in wishes])
        self._event: torch.cuda.Event | None = None
        self.totals: list[Tensor | int] = [max(1, count) for count in counts]
        if _place()[1] > 1:
            both = sent(torch.cat([torch.tensor(counts, dtype=torch.float32), self._said]), device)
            torch.distributed.all_reduce(both)
            self.totals = list(both[: len(counts)].clamp(min=1).unbind())
            self._said = both[len(counts) :].to("cpu", non_blocking=True)
            if device.type == "cuda":
                self._event = torch.cuda.Event()  # type: ignore[no-untyped-call]
                self._event.record()

    @property
    def wishes(self) -> list[bool]:
        """Each wish, if any rank has it."""
        if self._event is not None:
            self._event.synchronize()
        return [said > 0 for said in self._said.tolist()]


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor of the CPU on a device; the CPU goes on while it is copied."""
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def my_share(count: int) -> range:
    """Numbers of the items that are this rank's."""
    rank, world_size = _place()
    return range(rank, count, world_size)


def gathered(mine: Sequence[tuple[int, T]]) -> list[T]:
    """What all ranks have found of their items, in the order of the items; on every rank.

    Args:
        mine: number and finding of each item of this rank, in order; several of one number stay in
            order.
    """
    found = [list(mine)]
    if _place()[1] > 1:
        found = [[] for _ in range(_place()[1])]
        torch.distributed.all_gather_object(found, list(mine))
    everything = [one for part in found for one in part]
    return [value for _, value in sorted(everything, key=lambda one: one[0])]


def numbers(measured: Sequence[Mapping[str, Weighted]]) -> list[dict[str, Pair]]:
    """(sum, weight) of each name as numbers; the device is waited for once for all."""
    read = iter(as_numbers([both for values in measured for both in values.values()]))
    return [{name: next(read) for name in values} for values in measured]


def averages(parts: Sequence[Mapping[str, Pair]]) -> dict[str, float]:
    """Σ sum / Σ weight of each name, added up in order; names without any weight are left out."""
    sums: dict[str, Pair] = {}
    for part in parts:
        for name, (total, weight) in part.items():
            before = sums.get(name, (0.0, 0.0))
            sums[name] = before[0] + total, before[1] + weight
    return {name: total / weight for name, (total, weight) in sums.items() if weight}


def _place() -> tuple[int, int]:
    """Rank and number of ranks."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1
