"""Averages over many steps without asking the device for a number at each."""

from collections.abc import Mapping

import torch
from torch import Tensor


def pair_of(total: Tensor, weight: Tensor | int) -> Tensor:
    """(Σ value, Σ weight) [2] in float64, on the device of the sum."""
    return torch.stack(
        [total.detach().double(), torch.as_tensor(weight, device=total.device).double()]
    )


class Meter:
    """Weighted sums that turn into averages when read: name → Σ value / Σ weight."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}

    def add(self, values: Mapping[str, tuple[Tensor, Tensor | int]]) -> None:
        """Add (sum, weight) for each name."""
        for name, (total, weight) in values.items():
            pair = pair_of(total, weight)
            before = self._sums.get(name)  # on the CPU after a resume
            self._sums[name] = pair if before is None else before.to(pair.device) + pair

    def read(self) -> dict[str, float]:
        """The averages so far, over all ranks; the meter is empty afterwards.

        All ranks must have been given the same names; one without any weight is left out.
        """
        averages = {}
        for name, pair in self._sums.items():
            if torch.distributed.is_available() and torch.distributed.is_initialized():
                torch.distributed.all_reduce(pair)
            if pair[1]:
                averages[name] = float(pair[0] / pair[1])
        self._sums = {}
        return averages

    def state_dict(self) -> dict[str, Tensor]:
        """The sums so far, for a checkpoint between two readings."""
        return dict(self._sums)

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from the sums that `state_dict` gave."""
        self._sums = dict(state)
