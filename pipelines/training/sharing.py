"""Work on fixed items shared out among the ranks, with the same result for any number of them.

Item i is measured by rank i mod W. Every rank then has what all have found, in the order of the
items, and adds it up in that order: so the sums are those of one rank, to the bit.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar, overload

import torch
from torch import Tensor

from pipelines.training.meter import pair_of

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


def numbers(measured: Sequence[Mapping[str, tuple[Tensor, Tensor | int]]]) -> list[dict[str, Pair]]:
    """(sum, weight) of each name as numbers; the device is asked once for all."""
    if not measured:
        return []
    pairs = [pair_of(*one) for values in measured for one in values.values()]
    read = iter(torch.stack(pairs).tolist())
    return [{name: tuple(next(read)) for name in values} for values in measured]


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
