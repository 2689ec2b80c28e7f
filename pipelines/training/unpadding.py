"""Padded rows as one row without padding, its sizes rounded up so that few different ones occur.

Shapes: S sequences, N tokens of all of them, rounded up.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from pipelines.nn.rows import Bounds
from pipelines.training.sharing import sent

Ints = npt.NDArray[np.int64]


class Steps(NamedTuple):
    """Sizes are multiples of these: each new size is compiled anew.

    Attributes:
        tokens: in a row.
        sequences: in a row.
    """

    tokens: int
    sequences: int


EXACT = Steps(1, 1)


class Unpadded(NamedTuple):
    """Where the tokens of one row without padding are from.

    Attributes:
        places_N: flat places in the padded rows; of tokens that only round the number up, 0.
        in_sequence_1N: place of each token in its sequence.
        bounds: of the sequences, those that round the numbers up among them.
    """

    places_N: Tensor
    in_sequence_1N: Tensor
    bounds: Bounds


def unpad(
    starts_S: Ints, lengths_S: Ints, longest: int, device: torch.device, steps: Steps = EXACT
) -> Unpadded:
    """Lay sequences of padded rows one after the other.

    Two sequences of 2 and 1 tokens in rows of 4, the sum rounded up to a multiple of 4; the fourth
    token is a sequence for itself:

    >>> cpu = torch.device("cpu")
    >>> found = unpad(np.array([0, 4]), np.array([2, 1]), 3, cpu, Steps(tokens=4, sequences=1))
    >>> found.places_N.tolist(), found.in_sequence_1N.tolist(), found.bounds.ends_S1.tolist()
    ([0, 1, 4, 0], [[0, 1, 0, 0]], [0, 2, 3, 4])

    Args:
        starts_S: flat place of each sequence's first token in the padded rows.
        lengths_S: its tokens.
        longest: none has more.
        device: where the answer is wanted; nothing waits until it is there.
        steps: what sizes are rounded up to.
    """
    ends_S = lengths_S.cumsum()
    number = int(lengths_S.sum())
    total = up_to_multiple(max(1, number), steps.tokens)
    both = np.zeros((2, total), np.int64)
    before_S = ends_S - lengths_S
    both[1, :number] = np.arange(number) - np.repeat(before_S, lengths_S)
    both[0, :number] = both[1, :number] + np.repeat(starts_S, lengths_S)
    # What rounds the tokens up, in sequences no longer than the longest; then empty ones.
    more = -(-(total - number) // longest)
    most = len(lengths_S) + -(-(steps.tokens - 1) // longest)
    ends = np.full(1 + up_to_multiple(most, steps.sequences), total, np.int32)
    ends[0], ends[1 : len(ends_S) + 1] = 0, ends_S
    first = len(ends_S) + 1
    ends[first : first + more] = np.minimum(number + longest * np.arange(1, more + 1), total)
    places, in_sequence = sent(torch.from_numpy(both), device)
    bounds = Bounds(sent(torch.from_numpy(ends), device), longest)
    return Unpadded(places, in_sequence[None], bounds)


def up_to_multiple(number: int, step: int) -> int:
    """The least multiple of ``step`` that is not less."""
    return -(-number // step) * step


def rounded_up(x_N: Tensor, step: int, fill: int) -> Tensor:
    """``x_N`` with ``fill`` at its end, up to a multiple of ``step`` entries."""
    return F.pad(x_N, (0, -len(x_N) % step), value=fill)
