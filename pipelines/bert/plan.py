"""Pairs of segments for next-sentence prediction, planned a whole epoch at a time.

One pair per document and epoch: A is a few sentences at a random place, B the ones that follow or, with
probability ½, neighbouring sentences of another document of the same language, other by construction.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipelines.bert.params import SegmentParams
from pipelines.randomness import generator
from pipelines.shards.bucketing import bucketed_batches
from pipelines.shards.format import DocumentShard

Ints = npt.NDArray[np.int64]
IS_NEXT, IS_RANDOM = 0, 1


@dataclass(frozen=True)
class SegmentPlan:
    """Sample i: sentences ``a_first[i]`` … ``a_end[i]`` and ``b_first[i]`` … ``b_end[i]``, and its label."""

    a_first: Ints
    a_end: Ints
    b_first: Ints
    b_end: Ints
    label: Ints

    def __len__(self) -> int:
        return len(self.label)


def plan_segments(
    shard: DocumentShard, params: SegmentParams, *, seed: int, purpose: str, epoch: int, batch_size: int
) -> SegmentPlan:
    """The pairs of one epoch in the order of its batches: a function of the arguments alone."""
    rng = generator(seed, f"{purpose} segments", epoch)
    sizes = np.diff(shard.documents)
    own = np.flatnonzero(sizes >= 2)

    def draw_size(limit: Ints) -> Ints:
        return np.minimum(rng.integers(params.min_sentences, params.max_sentences + 1, len(limit)), limit)

    size = sizes[own]
    a_size = draw_size(size - 1)
    b_size = draw_size(size - a_size)
    a_first = shard.documents[own] + _below(rng, size - a_size - b_size + 1)

    label = rng.integers(0, 2, len(own))
    other = _another_document(shard, own, rng)
    random_size = draw_size(sizes[other])
    random_first = shard.documents[other] + _below(rng, sizes[other] - random_size + 1)
    b_first = np.where(label == IS_NEXT, a_first + a_size, random_first)
    b_end = b_first + np.where(label == IS_NEXT, b_size, random_size)
    tokens = shard.sentences.offsets
    lengths = tokens[a_first + a_size] - tokens[a_first] + tokens[b_end] - tokens[b_first]
    order = bucketed_batches(lengths, batch_size, rng).flatten()
    return SegmentPlan(*(column[order] for column in (a_first, a_first + a_size, b_first, b_end, label)))


def _another_document(shard: DocumentShard, own: Ints, rng: np.random.Generator) -> Ints:
    """For each document another one of its language: drawn among all but one, then shifted past itself."""
    other = np.empty_like(own)
    for first, end in shard.languages.values():
        mine = (own >= first) & (own < end)
        drawn = first + rng.integers(0, end - first - 1, int(mine.sum()))
        other[mine] = drawn + (drawn >= own[mine])
    return other


def _below(rng: np.random.Generator, limit: Ints) -> Ints:
    """Uniform integers in [0, limit)."""
    return rng.integers(0, limit)
