"""Padded rows as one row without padding, its sizes rounded up so that few different ones occur.

A compiled step is compiled for each size, and sizes may depend on nothing but the batch: after a
resume they have to be the same. So the number of tokens is rounded up to few leading bits, and
other numbers to a fixed share of it.

Shapes: S sequences, N tokens of all of them, rounded up.
"""

from fractions import Fraction
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from pipelines.nn.rows import Bounds
from pipelines.training.sharing import sent

Ints = npt.NDArray[np.int64]
# 1/512, 1/384, 1/256, 1/192 … 1/6, 1/4, 1/3, 1/2, 1
_SHARES = sorted({Fraction(1, k << n) for n in range(9) for k in (2, 3)} | {Fraction(1)})


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
    starts_S: Ints,
    lengths_S: Ints,
    longest: int,
    device: torch.device,
    *,
    tokens: int = 0,
    sequences: int = 0,
) -> Unpadded:
    """Lay sequences of padded rows one after the other.

    Two sequences of 2 and 1 tokens in rows of 4, the sum rounded up to 4; the fourth token is a
    sequence for itself, and a fourth sequence is empty:

    >>> cpu, starts, lengths = torch.device("cpu"), np.array([0, 4]), np.array([2, 1])
    >>> found = unpad(starts, lengths, 3, cpu, tokens=4, sequences=4)
    >>> found.places_N.tolist(), found.in_sequence_1N.tolist(), found.bounds.ends_S1.tolist()
    ([0, 1, 4, 0], [[0, 1, 0, 0]], [0, 2, 3, 4, 4])

    Args:
        starts_S: flat place of each sequence's first token in the padded rows.
        lengths_S: its tokens.
        longest: none has more.
        device: where the answer is wanted; nothing waits until it is there.
        tokens: in the row; 0 for those there are.
        sequences: in the row; 0 for those there are and those that the tokens beyond need.
    """
    ends_S = lengths_S.cumsum()
    number = int(lengths_S.sum())
    total = tokens or max(1, number)
    both = np.zeros((2, total), np.int64)
    before_S = ends_S - lengths_S
    both[1, :number] = np.arange(number) - np.repeat(before_S, lengths_S)
    both[0, :number] = both[1, :number] + np.repeat(starts_S, lengths_S)
    # What rounds the tokens up, in sequences no longer than the longest; then empty ones.
    more = -(-(total - number) // longest)
    ends = np.full(1 + max(sequences, len(lengths_S) + more), total, np.int32)
    ends[0], ends[1 : len(ends_S) + 1] = 0, ends_S
    first = len(ends_S) + 1
    ends[first : first + more] = np.minimum(number + longest * np.arange(1, more + 1), total)
    places, in_sequence = sent(torch.from_numpy(both), device)
    bounds = Bounds(sent(torch.from_numpy(ends), device), longest)
    return Unpadded(places, in_sequence[None], bounds)


def leading_bits(number: int, bits: int) -> int:
    """The least number that is not less and has so many leading bits, zeros after them.

    >>> [leading_bits(number, 3) for number in (5, 8, 9, 15, 33)]
    [5, 8, 10, 16, 40]
    """
    step = 1 << max(0, (number - 1).bit_length() - bits)
    return -(-number // step) * step


def share_of(total: int, needed: int) -> int:
    """The least of some fixed shares of ``total`` that is not less than ``needed``.

    >>> share_of(1200, 180), share_of(1200, 9)
    (200, 10)
    """
    return next((found for share in _SHARES if (found := -(-total * share // 1)) >= needed), needed)


def power_of_two(number: int) -> int:
    """The least one that is not less."""
    return 1 << (number - 1).bit_length()


def filled_up(x_N: Tensor, size: int, fill: int) -> Tensor:
    """``x_N`` with ``fill`` at its end, of a size."""
    return F.pad(x_N, (0, size - len(x_N)), value=fill)
