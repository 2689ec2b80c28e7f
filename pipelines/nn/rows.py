"""Sequences that lie one after the other in a single row, without padding.

Shapes: S sequences, N tokens.
"""

from typing import NamedTuple

from torch import Tensor


class Bounds(NamedTuple):
    """Where sequences lie in a row of tokens.

    Attributes:
        ends_S1: int32 [S + 1]: 0, and how many tokens there are up to the end of each sequence;
            the last one is the number of all tokens. A sequence may be empty.
        longest: no sequence has more tokens.
    """

    ends_S1: Tensor
    longest: int


class Row(NamedTuple):
    """Sequences without padding.

    Attributes:
        tokens_1N: ids of the tokens of all of them.
        places_1N: place of each token in its sequence.
        bounds: where the sequences are.
    """

    tokens_1N: Tensor
    places_1N: Tensor
    bounds: Bounds


class Within(NamedTuple):
    """Who may look where: the queries of each sequence at the keys of the sequence of its number.

    Attributes:
        queries, keys: bounds of as many sequences.
    """

    queries: Bounds
    keys: Bounds
