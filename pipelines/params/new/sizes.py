"""How large and how long, for a corpus and a time: guesses to begin with, not findings."""

import math
import time
from dataclasses import dataclass

import numpy as np

from pipelines.formats.text import num_words
from pipelines.frame.errors import ParamsError, broken_rule
from pipelines.params.new.pairs import Text

MAX_WORDS = 60  # longer training pairs are dropped
_FEWEST_MINUTES = 3
_STARTS_S = 110.0  # starting thirteen processes, scoring, drawing: whatever the sizes are
_SHARES = (0.35, 0.5)  # of the time left: BERT, the architectures; the rest searches
_USED = 0.45  # of the speed of a large product, which such small networks reach
_OF_PAIRS = 4.0  # a token of a pair costs so many times more: padding, attention, validations
_ROWS, _LENGTH, _PAIRS = 32, 96, 64  # of a batch: rows and tokens of BERT's, pairs
_PASSES = (2, 60)  # over the text, at least and at most
_ARCHITECTURES = 3


@dataclass(frozen=True)
class Sizes:
    """Settings of a recipe.

    Attributes:
        vocab_size: WordPieces.
        width, num_layers, num_heads: of all networks.
        bert_updates, seq2seq_updates: of each training.
        max_length: tokens of a translation.
        minutes: that all of it may take here.
    """

    vocab_size: int
    width: int
    num_layers: int
    num_heads: int
    bert_updates: int
    seq2seq_updates: int
    max_length: int
    minutes: float


@dataclass(frozen=True)
class Counts:
    """What the text is like.

    Attributes:
        words: of all documents and training pairs, both languages.
        letters: different ones.
        longest: words of the longest side of a pair.
        mean: words of a side.
        too_long: training pairs above `MAX_WORDS`.
    """

    words: int
    letters: int
    longest: int
    mean: float
    too_long: int


def count(text: Text) -> Counts:
    """Count words and letters."""
    lines = [line for lines in text.documents.values() for line in lines]
    sides = [side for pair in text.pairs["train"] for side in pair]
    lengths = [num_words(side) for side in sides]
    longest = [max(one, other) for one, other in zip(lengths[::2], lengths[1::2], strict=True)]
    return Counts(
        words=sum(map(num_words, lines)) + sum(lengths),
        letters=len(set("".join(lines) + "".join(sides))),
        longest=max(longest),
        mean=sum(lengths) / len(lengths),
        too_long=sum(length > MAX_WORDS for length in longest),
    )


def guess(counts: Counts, num_pairs: int, minutes: float, speed: float | None = None) -> Sizes:
    """Sizes for a corpus and a time.

    Args:
        counts: of the text.
        num_pairs: for training.
        minutes: that a run may take.
        speed: floating-point operations per second; measured on this machine if None.

    Raises:
        ParamsError: there is too little time for anything.
    """
    if not minutes >= _FEWEST_MINUTES:
        rule = f"be at least {_FEWEST_MINUTES}"
        raise ParamsError(
            broken_rule("params new", "--minutes", minutes, rule, "give it more time")
        )
    speed = _USED * (speed or measured_speed())
    wanted = 2000 * (counts.words / 30_000) ** 0.4
    # Every letter is a piece, at the beginning of a word and inside one.
    vocab_size = max(min(round(wanted, -2), 32_000), 500, 3 * counts.letters)
    width, num_layers = _shape(counts.words)
    left = 60 * minutes - _STARTS_S if 60 * minutes > 2 * _STARTS_S else 30 * minutes
    token = 6 * (12 * num_layers * width**2 + 0.25 * width * vocab_size)
    bert = _within(left * _SHARES[0] * speed / (token * _ROWS * _LENGTH), counts.words)
    pair = 6 * _OF_PAIRS * counts.mean * (24 * num_layers * width**2 + width * vocab_size)
    seq2seq = left * _SHARES[1] / _ARCHITECTURES * speed / (pair * _PAIRS)
    fewest, most = (passes * num_pairs / _PAIRS for passes in _PASSES)
    return Sizes(
        int(vocab_size),
        width,
        num_layers,
        width // 32,
        bert,
        _round(max(50, min(max(seq2seq, fewest / 2), most))),
        min(126, 16 + 2 * math.ceil(min(counts.longest, MAX_WORDS) * 0.9)),
        minutes,
    )


def _shape(words: int) -> tuple[int, int]:
    """Width and layers: small text needs little, and more learns it by heart."""
    return (128, 2) if words < 1_000_000 else (192, 3) if words < 20_000_000 else (256, 4)


def _within(updates: float, words: int) -> int:
    """BERT sees the text at most a hundred times."""
    most = 100 * 1.3 * words / (_ROWS * _LENGTH)
    return _round(max(100, min(updates, most)))


def _round(updates: float) -> int:
    """To two digits: 1,137 → 1,100."""
    digits = max(0, len(str(int(updates))) - 2)
    return int(round(updates, -digits))


def measured_speed() -> float:
    """Operations per second of a product of two 768 × 768 matrices, the best of ten."""
    one = np.ones((768, 768), np.float32)
    best = math.inf
    for _ in range(10):
        start = time.perf_counter()
        one @ one
        best = min(best, time.perf_counter() - start)
    return float(2 * 768**3 / best)
