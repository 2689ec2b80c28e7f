"""Masked language modelling (Devlin et al. 2019, section 3.1): what is hidden, and how.

Shapes: S sequences, L their greatest length, N real tokens of all of them (sequence after
sequence), K most predictions per sequence, M masked tokens of all of them, V vocabulary.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipelines.formats.vocabulary.special_tokens import MASK, NUM_SPECIAL_TOKENS

Ints = npt.NDArray[np.int64]
Bits = npt.NDArray[np.uint32]
_LAST = np.uint64(2**32 - 1)


@dataclass(frozen=True)
class MaskRules:
    """Which tokens are hidden.

    Attributes:
        rate: share of a sequence's tokens, special ones counted, as in google-research/bert.
        max_predictions: K.
        vocab_size: V; random tokens are drawn from the whole vocabulary.
        continues: [V], True for pieces that go on with a word (``##ing``): words are then hidden
            whole or not at all; None hides pieces one by one.
    """

    rate: float
    max_predictions: int
    vocab_size: int
    continues: npt.NDArray[np.bool_] | None = None

    def num_draws(self, max_length: int) -> int:
        """Random words `mask` wants per sequence."""
        return max_length + 2 * self.max_predictions


@dataclass(frozen=True)
class Masked:
    """Hidden tokens.

    Attributes:
        where: [M], places among the N tokens, sequence after sequence.
        shown: [M], what stands there instead: 80 % [MASK], 10 % any token, 10 % the token itself.
        labels: [M], the tokens.
        counts: [S], masked tokens of each sequence.
    """

    where: Ints
    shown: Ints
    labels: Ints
    counts: Ints


def mask(tokens_N: Ints, lengths_S: Ints, bits: Bits, rules: MaskRules) -> Masked:
    """Hide exactly ``min(max_predictions, max(1,
    round(length · rate)))`` tokens of each sequence, never special ones.

    With whole words it may be fewer: a word that no longer fits is skipped, as in
    google-research/bert.

    Args:
        tokens_N: the sequences, one after the other.
        lengths_S: their lengths, special tokens included.
        bits: [S, num_draws]; a sequence's masks depend on its own row alone.
        rules: what and how many.
    """
    L, K = int(lengths_S.max()), rules.max_predictions
    inside = np.arange(L) < lengths_S[:, None]
    maskable = np.zeros(inside.shape, bool)
    maskable[inside] = tokens_N >= NUM_SPECIAL_TOKENS
    wanted = np.clip(np.rint(lengths_S * rules.rate).astype(np.int64), 1, K)
    if rules.continues is None:
        columns, chosen = _pieces(maskable, bits[:, :L], wanted, K)
    else:
        goes_on = np.zeros(inside.shape, bool)
        goes_on[inside] = rules.continues[tokens_N]
        columns, chosen = _words(maskable, goes_on, bits[:, :L], wanted)
        K = min(K, columns.shape[1])
        order = np.argsort(~chosen, axis=1, kind="stable")[:, :K]
        columns = np.take_along_axis(columns, order, 1)
        chosen = np.take_along_axis(chosen, order, 1)
    K = columns.shape[1]
    # The last 2·K draws of a sequence: what happens to each hidden token, and the random tokens.
    kind, drawn = (bits[:, -rules.max_predictions * part :][:, :K][chosen] for part in (2, 1))
    starts = np.cumsum(lengths_S) - lengths_S
    where = (starts[:, None] + columns)[chosen]
    labels = tokens_N[where]
    random_token = (drawn.astype(np.uint64) * np.uint64(rules.vocab_size)) >> np.uint64(32)
    shown = np.where(
        kind < 0.8 * 2**32,
        MASK,
        np.where(kind < 0.9 * 2**32, random_token.astype(np.int64), labels),
    )
    return Masked(where, shown, labels, chosen.sum(axis=1))


def _pieces(
    maskable: npt.NDArray[np.bool_], bits: Bits, wanted: Ints, K: int
) -> tuple[Ints, npt.NDArray[np.bool_]]:
    """Columns [S, ≤ K] of the smallest draws, and which of them are wanted."""
    ranked = _ranked(maskable, bits)
    ranked.sort(axis=1)  # by value: eight times as fast as an argsort
    columns = (ranked[:, :K] & _LAST).astype(np.int64)
    count = np.minimum(wanted, maskable.sum(axis=1))
    return columns, np.arange(columns.shape[1]) < count[:, None]


def _words(
    maskable: npt.NDArray[np.bool_], goes_on: npt.NDArray[np.bool_], bits: Bits, wanted: Ints
) -> tuple[Ints, npt.NDArray[np.bool_]]:
    """Columns [S, L] word after word in random order, and which are chosen.

    ``[CLS] un ##believ ##able story [SEP]``: the words are columns 1 to 3 and column 4. A word is
    ranked by the draw of its first piece, here 18 and 10, so *story* is the first to be hidden.
    With room for three, *unbelievable* no longer fits after it and is skipped:

    >>> maskable = np.array([[False, True, True, True, True, False]])
    >>> goes_on = np.array([[False, False, True, True, False, False]])
    >>> bits = np.array([[0, 18, 4, 6, 10, 0]], np.uint32)
    >>> for wanted in (1, 3, 4):
    ...     columns, chosen = _words(maskable, goes_on, bits, np.array([wanted]))
    ...     print(columns[chosen].tolist())
    [4]
    [4]
    [4, 1, 2, 3]
    """
    S, L = maskable.shape
    # A piece begins a word unless it goes on with the piece before it.
    before = np.zeros_like(maskable)
    before[:, 1:] = maskable[:, :-1]
    begins = maskable & ~(goes_on & before)
    # The column in which each piece's word begins: the latest beginning so far.
    first = np.maximum.accumulate(np.where(begins, np.arange(L), 0), axis=1)
    # All pieces of a word have its first one's draw, and equal draws keep the order of columns.
    ranked = _ranked(maskable, np.take_along_axis(bits, first, 1))
    ranked.sort(axis=1)
    columns = (ranked & _LAST).astype(np.int64)
    word = np.take_along_axis(first, columns, 1)
    # Pieces of each word, counted at the column it begins with and read by each of its pieces.
    size = np.zeros((S, L), np.int64)
    np.add.at(size, (np.arange(S)[:, None], first), maskable)
    size = np.take_along_axis(size, word, 1)
    usable = np.take_along_axis(maskable, columns, 1)
    starts = np.take_along_axis(begins, columns, 1)
    chosen, taken, fits = np.zeros((S, L), bool), np.zeros(S, np.int64), np.zeros(S, bool)
    # Word after word: its first piece decides for all of them whether it fits.
    for column in range(L):
        fits = (
            np.where(starts[:, column], taken + size[:, column] <= wanted, fits) & usable[:, column]
        )
        chosen[:, column] = fits
        taken += fits
    return columns, chosen


def _ranked(maskable: npt.NDArray[np.bool_], bits: Bits) -> npt.NDArray[np.uint64]:
    """A number per place that sorts by its draw and ends in its column;
    places that may not be hidden come last.
    """
    draws = np.where(maskable, bits >> np.uint32(1), np.uint32(2**32 - 1)).astype(np.uint64)
    return (draws << np.uint64(32)) | np.arange(bits.shape[1], dtype=np.uint64)
