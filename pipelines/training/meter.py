"""Averages over many steps without asking the device for a number at each."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

Weighted = tuple[Tensor, Tensor | float]  # sum of values, sum of their weights


class Meter:
    """Weighted sums that turn into averages when read: name → Σ value / Σ weight.

    Sums stay in float64 where they are computed, and weights that are numbers stay numbers: adding
    copies nothing to the device and waits for nothing.
    """

    def __init__(self) -> None:
        self._sums: dict[str, Weighted] = {}

    def add(self, values: Mapping[str, Weighted]) -> None:
        """Add (sum, weight) for each name."""
        for name, (value, weight) in values.items():
            total = value.detach().double()
            if name in self._sums:
                before, weights = self._sums[name]  # a checkpoint's are on the CPU
                total = before.to(total.device) + total
                if isinstance(weight, Tensor) and isinstance(weights, Tensor):
                    weights = weights.to(weight.device)
                self._sums[name] = total, weights + weight
            else:
                self._sums[name] = total, weight

    def read(self) -> dict[str, float]:
        """The averages so far, over all ranks; the meter is empty afterwards.

        All ranks must have been given the same names; one without any weight is left out.
        """
        names, sums = list(self._sums), list(self._sums.values())
        self._sums = {}
        if not names:
            return {}
        pairs = torch.tensor(as_numbers(sums), dtype=torch.double)
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            pairs = pairs.to(_device(sums))
            torch.distributed.all_reduce(pairs)
        found = zip(names, pairs.tolist(), strict=True)
        return {name: total / weight for name, (total, weight) in found if weight}

    def state_dict(self) -> dict[str, Tensor]:
        """(Σ value, Σ weight) [2] of each name, for a checkpoint between two readings."""
        numbers = as_numbers(list(self._sums.values()))
        pairs = torch.tensor(numbers, dtype=torch.double).view(-1, 2)
        return dict(zip(self._sums, pairs, strict=True))

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from the sums that `state_dict` gave."""
        self._sums = {name: (pair[0], pair[1]) for name, pair in state.items()}


def as_numbers(sums: Sequence[Weighted]) -> list[tuple[float, float]]:
    """The sums and weights as numbers of float64; the device is waited for once."""
    if not sums:
        return []
    device = _device(sums)
    totals = torch.stack([total.detach().to(device).double() for total, _ in sums]).tolist()
    return [(total, float(weight)) for total, (_, weight) in zip(totals, sums, strict=True)]


def _device(sums: Sequence[Weighted]) -> torch.device:
    """That of the computed ones; what a checkpoint held is on the CPU until more is added."""
    computed = (total.device for total, _ in sums if total.device.type != "cpu")
    return next(computed, torch.device("cpu"))
