"""Pairs of segments for next-sentence prediction, planned a whole epoch at a time.

The pairs are those of ``create_pretraining_data.py`` (google-research/bert; Devlin et al. 2019,
appendix A.2), with two of its faults mended: the other document of a random pair is another one by
construction (there, after ten draws, it may be the same), and of the same language. Where the
original walks through one document after the other, the plan takes one step in all documents at
once.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from pipelines.formats.randomness import generator
from pipelines.formats.shards.arrays import DocumentShard

Ints = npt.NDArray[np.int64]
Pairs = npt.NDArray[np.void]
NextSentenceTask = Literal["random", "sop", "none"]

# A row of the plan: first token and size of both segments, and the label. B of ``none`` is empty.
PAIR = np.dtype(
    [("a_first", "i8"), ("b_first", "i8"), ("a_size", "i4"), ("b_size", "i4"), ("label", "i4")]
)
IN_ORDER, NOT_IN_ORDER = 0, 1
_BLOCK = 1 << 15  # documents planned together: what bounds the memory


@dataclass(frozen=True)
class PairRules:
    """What decides the pairs besides the documents.

    Attributes:
        nsp: ``random``: B follows A or is from another document; ``sop``: the two in order or
            swapped (Lan et al. 2020); ``none``: A alone (Liu et al. 2019).
        max_length: tokens of [CLS] A [SEP] B [SEP], special ones included.
        short_rate: share of documents whose pairs aim at a random shorter length.
    """

    nsp: NextSentenceTask
    max_length: int
    short_rate: float

    @property
    def num_special(self) -> int:
        """[CLS] and a [SEP] after each segment."""
        return 2 if self.nsp == "none" else 3

    @property
    def room(self) -> int:
        """Tokens of text in a row."""
        return self.max_length - self.num_special


def make_pairs(
    shard: DocumentShard, rules: PairRules, *, seed: int, purpose: str, epoch: int
) -> Iterator[Pairs]:
    """The pairs of one epoch, a block of documents at a time: a function of the arguments alone.

    Yields:
        Arrays of `PAIR`, not yet in the order of training.
    """
    for language, (first, end) in shard.languages.items():
        for block in range(first, end, _BLOCK):
            documents = np.arange(block, min(end, block + _BLOCK))
            rng = generator(seed, f"{purpose} pairs {language}", epoch, block)
            yield _Block(shard, (first, end), rules, rng).pairs(documents)


class _Block:
    """One block of documents of one language."""

    def __init__(
        self,
        shard: DocumentShard,
        language: tuple[int, int],
        rules: PairRules,
        rng: np.random.Generator,
    ) -> None:
        self._offsets = np.asarray(shard.sentences.offsets)
        self._documents = np.asarray(shard.documents)
        self._language, self._rules, self._rng = language, rules, rng

    def pairs(self, documents: Ints) -> Pairs:
        """All pairs of these documents, cut to fit."""
        room, rng = self._rules.room, self._rng
        target = np.full(len(documents), room)
        short = rng.random(len(documents)) < self._rules.short_rate
        # Drawn once per document, as in the original, not once per pair.
        target[short] = rng.integers(2, room + 1, int(short.sum()))
        sentence, last = self._documents[documents].copy(), self._documents[documents + 1]
        found = []
        while len(documents):
            left = sentence < last
            documents, sentence, last, target = (
                part[left] for part in (documents, sentence, last, target)
            )
            pairs, sentence = self._step(documents, sentence, last, target)
            found.append(pairs)
        return self._cut(np.concatenate(found))

    def _step(self, documents: Ints, first: Ints, last: Ints, target: Ints) -> tuple[Pairs, Ints]:
        """The next pair of every document, and the sentence its following one begins with.

        A document of sentences of 3, 4, 2 and 5 tokens, target 8. From sentence 0 the run reaches
        to sentence 2 (3 + 4 + 2 ≥ 8). Two of its three sentences, say, become A. Under ``random``
        B is, half the time, sentence 2, and the next pair begins with sentence 3; else B comes from
        another document, aims at the 8 − 7 = 1 tokens left, and sentence 2 is put back: the next
        pair begins with it.
        """
        # The shortest run of sentences that holds the target, and a random cut in it.
        end = self._reach(first, target, last)
        if self._rules.nsp == "sop":
            end = np.minimum(np.maximum(end, first + 2), last)
        size = end - first
        a_end = end
        if self._rules.nsp != "none":
            a_end = first + np.where(size > 1, self._below(size - 1) + 1, 1)
        # As if every pair stood in the text: A before the cut, B after it.
        pairs = np.zeros(len(first), PAIR)
        self._set(pairs, "a", first, a_end)
        self._set(pairs, "b", a_end, end)
        if self._rules.nsp == "random":
            # Half of them, and runs of one sentence, get a B from elsewhere.
            other = (size == 1) | (self._rng.random(len(first)) < 0.5)
            self._set(
                pairs, "b", *self._elsewhere(documents, target - pairs["a_size"]), where=other
            )
            pairs["label"] = other
            end = np.where(other, a_end, end)  # unused sentences are put back
        if self._rules.nsp == "sop":
            pairs["label"] = self._rng.random(len(first)) < 0.5
            swapped = pairs["label"] == NOT_IN_ORDER
            columns = ["a_first", "a_size", "b_first", "b_size"]
            a_first, a_size, b_first, b_size = (pairs[column].copy() for column in columns)
            for column, value in zip(columns, (b_first, b_size, a_first, a_size), strict=True):
                pairs[column] = np.where(swapped, value, pairs[column])
            pairs = pairs[size > 1]  # the last sentence of a document may be alone
        return pairs, end

    def _reach(self, first: Ints, target: Ints, last: Ints) -> Ints:
        """End of the shortest run of sentences with at least ``target`` tokens,
        one sentence or more.
        """
        end = np.searchsorted(self._offsets, self._offsets[first] + np.maximum(target, 1))
        return np.minimum(end, last)

    def _elsewhere(self, documents: Ints, target: Ints) -> tuple[Ints, Ints]:
        """Sentences of another document of the language: drawn among all but one,
        then shifted past itself.
        """
        first, end = self._language
        other = first + self._rng.integers(0, end - first - 1, len(documents))
        other += other >= documents
        start = self._documents[other] + self._below(
            self._documents[other + 1] - self._documents[other]
        )
        return start, self._reach(start, target, self._documents[other + 1])

    def _set(
        self, pairs: Pairs, segment: str, first: Ints, end: Ints, where: npt.ArrayLike = True
    ) -> None:
        np.copyto(pairs[f"{segment}_first"], self._offsets[first], where=where)
        np.copyto(
            pairs[f"{segment}_size"],
            self._offsets[end] - self._offsets[first],
            where=where,
            casting="same_kind",
        )

    def _cut(self, pairs: Pairs) -> Pairs:
        """Too long, the longer segment loses a token at a time,
        at its front or its end with probability ½.
        """
        a, b, room = pairs["a_size"].copy(), pairs["b_size"].copy(), self._rules.room
        if self._rules.nsp == "none":
            pairs["a_size"] = np.minimum(a, room)  # the sentence that overflows is cut short
            return pairs
        pairs["a_size"] = np.maximum(np.minimum(a, (room + 1) // 2), np.minimum(a, room - b))
        pairs["b_size"] = np.maximum(
            np.minimum(b, room // 2), np.minimum(b, room - pairs["a_size"])
        )
        pairs["a_first"] += self._rng.binomial(a - pairs["a_size"], 0.5)
        pairs["b_first"] += self._rng.binomial(b - pairs["b_size"], 0.5)
        return pairs

    def _below(self, limit: Ints) -> Ints:
        """Uniform integers in [0, limit); 0 where the limit is 0."""
        return self._rng.integers(0, np.maximum(limit, 1))
