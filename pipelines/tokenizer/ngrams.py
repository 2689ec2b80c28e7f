"""A language model of n-grams, to compare vocabularies by: interpolated Kneser–Ney.

Chen & Goodman 1999, section 2.7, equations 24 to 26: with the discount D = n₁ / (n₁ + 2 n₂) of each
order, n₁ and n₂ the number of its n-grams seen once and twice,

    p(w | context) = max(c(context w) − D, 0) / c(context) + D N₁₊(context •) / c(context) p(w | …)

where … is the context without its first token. c counts occurrences in the highest order, and in
the lower ones the different tokens that stand before: "Francisco" is frequent, but after "San"
alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Keys = NDArray[np.uint64]
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_ANY_DISCOUNT = 0.5  # where no n-gram is seen once or none twice
_BEGIN, _END = 0, 1  # before and after a row; a token's own number is 2 more than its id


@dataclass(frozen=True)
class _Order:
    """The n-grams of one length.

    Attributes:
        keys, counts: of its n-grams, in order of the keys.
        contexts, totals, kinds: of what stands before their last tokens, in order of the keys: sum
            of counts, number of different n-grams.
        discount: D.
    """

    keys: Keys
    counts: NDArray[np.int64]
    contexts: Keys
    totals: NDArray[np.int64]
    kinds: NDArray[np.int64]
    discount: float


class NgramModel:
    """A model of token lists, each with its end.

    Args:
        rows: to count.
        vocab_size: number of different tokens.
        order: the longest n-gram.
    """

    def __init__(self, rows: Sequence[Sequence[int]], vocab_size: int, order: int = 5) -> None:
        self.vocab_size, self.order = vocab_size, order
        tokens, ends = _laid_out(rows, order)
        self._orders: list[_Order] = []
        # The places of n-grams to count: all at first, then one of each kind of the order above.
        places = ends
        for length in range(order, 0, -1):
            keys, first, counts = np.unique(
                _keys(tokens, places, length), return_index=True, return_counts=True
            )
            places = places[first]
            self._orders.insert(0, _order(keys, counts, _keys(tokens, places - 1, length - 1)))

    def probabilities(self, rows: Sequence[Sequence[int]]) -> NDArray[np.float64]:
        """That of each token and of each row's end, given what stands before it, row after row."""
        tokens, ends = _laid_out(rows, self.order)
        # One more than the tokens: the end of a row.
        found = np.full(len(ends), 1 / (self.vocab_size + 1))
        for length, order in enumerate(self._orders, start=1):
            count = _look_up(order.keys, order.counts, _keys(tokens, ends, length))
            context = _keys(tokens, ends - 1, length - 1)
            total = _look_up(order.contexts, order.totals, context)
            kinds = _look_up(order.contexts, order.kinds, context)
            kept = np.maximum(count - order.discount, 0) + order.discount * kinds * found
            found = np.where(total > 0, kept / np.maximum(total, 1), found)
        return found

    def bits(self, rows: Sequence[Sequence[int]]) -> float:
        """To write these rows, each with its end."""
        return float(-np.log2(self.probabilities(rows)).sum())


def _order(keys: Keys, counts: NDArray[np.int64], contexts: Keys) -> _Order:
    contexts, inverse = np.unique(contexts, return_inverse=True)
    once, twice = (counts == 1).sum(), (counts == 2).sum()
    return _Order(
        keys,
        counts,
        contexts,
        np.bincount(inverse, counts).astype(np.int64),
        np.bincount(inverse),
        float(once / (once + 2 * twice)) if once and twice else _ANY_DISCOUNT,
    )


def _laid_out(rows: Sequence[Sequence[int]], order: int) -> tuple[Keys, NDArray[np.int64]]:
    """All rows in one array, with beginnings enough for the longest n-gram before each and an end
    after it; and the places of what is to be told: tokens and ends.
    """
    flat: list[int] = []
    for row in rows:
        flat += [_BEGIN] * (order - 1)
        flat += [index + 2 for index in row]
        flat.append(_END)
    tokens = np.array(flat, np.uint64)
    return tokens, np.flatnonzero(tokens != _BEGIN)


def _keys(tokens: Keys, places: NDArray[np.int64], length: int) -> Keys:
    """A number for each n-gram that ends at a place; two that are the same by chance among the
    n-grams of any corpus that fits in memory are less likely than one in 10,000.
    """
    keys = np.zeros(len(places), np.uint64)
    for before in range(length - 1, -1, -1):
        keys = (keys ^ (tokens[places - before] + np.uint64(1))) * _MULTIPLIER
        keys ^= keys >> np.uint64(29)
    return keys


def _look_up(keys: Keys, values: NDArray[np.int64], wanted: Keys) -> NDArray[np.int64]:
    """The value of each wanted key, 0 of those that are not there."""
    places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[places] == wanted, values[places], 0)
