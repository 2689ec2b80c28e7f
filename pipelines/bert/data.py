"""Pretraining batches: update number → the same tokens, pairs and masks wherever it is computed.

Shapes: B batch, T length, M masked positions of the whole batch.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pipelines.bert.masking import Ints, mask, num_draws
from pipelines.bert.params import BertParams
from pipelines.bert.segments import SegmentPlan, plan_segments
from pipelines.errors import DataError, broken_rule
from pipelines.randomness import uniform_block
from pipelines.shards.format import DocumentShard
from pipelines.tokenizer.special_tokens import CLS, PAD, SEP

_LENGTH_STEP = 8  # rows are padded to a multiple: few shapes, so matrix kernels are set up once


class SegmentBatch(NamedTuple):
    """One update's data on one rank.

    Attributes:
        tokens_BT: token ids, some hidden.
        types_BT: 0 in [CLS] A [SEP], 1 in B [SEP].
        lengths_B: real tokens of each row.
        positions_M: flat positions of the hidden tokens.
        labels_M: what they were.
        nsp_B: 0 B follows A, 1 it does not.
        update: update number, from 0.
        num_tokens: real tokens in the batch.
    """

    tokens_BT: Tensor
    types_BT: Tensor
    lengths_B: Tensor
    positions_M: Tensor
    labels_M: Tensor
    nsp_B: Tensor
    update: int
    num_tokens: int


class SegmentBatches:
    """Batches of one split.

    Args:
        shard: its documents.
        params: segments, masking and batch size.
        seed: of the project.
        purpose: name of the random streams, ``train`` or ``valid``.
        vocab_size: V.
        rank: this process takes every ``world_size``-th row, from ``rank`` on.
        world_size: number of processes.

    Raises:
        DataError: there are fewer documents than rows in a batch.
    """

    def __init__(
        self,
        shard: DocumentShard,
        params: BertParams,
        *,
        seed: int,
        purpose: str,
        vocab_size: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self._shard, self._params, self._seed, self._purpose = shard, params, seed, purpose
        self._vocab_size, self._rank, self._world_size = vocab_size, rank, world_size
        self._plan = lru_cache(maxsize=2)(self._plan_of_epoch)
        num_samples = int((np.diff(shard.documents) >= 2).sum())
        self._per_epoch = num_samples // params.training.batch_size
        if not self._per_epoch:
            where, remedy = f"bert, {purpose} documents", "lower bert.training.batch_size or add documents"
            rule = f"be at least one batch ({params.training.batch_size})"
            raise DataError(broken_rule(where, "documents of two sentences or more", num_samples, rule, remedy))

    def __len__(self) -> int:
        """Batches per epoch."""
        return self._per_epoch

    def __call__(self, update: int) -> SegmentBatch:
        """This rank's part of the batch of one update."""
        epoch, index = divmod(update, self._per_epoch)
        first = index * self._params.training.batch_size
        rows = np.arange(first, first + self._params.training.batch_size)
        max_length, masking = self._params.segments.max_length, self._params.masking
        draws = uniform_block(
            self._seed,
            f"{self._purpose} masks",
            epoch=epoch,
            first=first,
            count=len(rows),
            width=num_draws(max_length, masking),
        )
        mine = slice(self._rank, None, self._world_size)
        plan = self._plan(epoch)
        tokens, types, lengths = assemble(self._shard, plan, rows[mine], max_length)
        masked = mask(tokens, lengths, draws[mine], masking, max_length=max_length, vocab_size=self._vocab_size)
        return SegmentBatch(
            torch.from_numpy(masked.tokens),
            torch.from_numpy(types),
            torch.from_numpy(lengths),
            torch.from_numpy(masked.positions),
            torch.from_numpy(masked.labels),
            torch.from_numpy(plan.label[rows[mine]]),
            update,
            int(lengths.sum()),
        )

    def _plan_of_epoch(self, epoch: int) -> SegmentPlan:
        return plan_segments(
            self._shard,
            self._params.segments,
            seed=self._seed,
            purpose=self._purpose,
            epoch=epoch,
            batch_size=self._params.training.batch_size,
        )


def assemble(
    shard: DocumentShard, plan: SegmentPlan, rows: npt.NDArray[np.int64], max_length: int
) -> tuple[Ints, Ints, Ints]:
    """[CLS] A [SEP] B [SEP]: token ids [B, T], segment ids [B, T], lengths [B].

    Sentences of a segment are neighbours in the shard, so a segment is one slice. Too long, the longer segment
    gives way first: A loses its beginning, B its end, so that they still meet.
    """
    offsets, source = shard.sentences.offsets, shard.sentences.tokens
    a_end, b_first = offsets[plan.a_end[rows]], offsets[plan.b_first[rows]]
    a_size, b_size = _fit(a_end - offsets[plan.a_first[rows]], offsets[plan.b_end[rows]] - b_first, max_length - 3)
    lengths = a_size + b_size + 3
    T = min(max_length, -(-int(lengths.max()) // _LENGTH_STEP) * _LENGTH_STEP)
    tokens = np.full((len(rows), T), PAD, np.int64)
    column = np.arange(T)
    in_a = (column >= 1) & (column <= a_size[:, None])
    in_b = (column >= a_size[:, None] + 2) & (column < lengths[:, None] - 1)
    tokens[in_a] = source[((a_end - a_size)[:, None] + column - 1)[in_a]]
    tokens[in_b] = source[((b_first - a_size - 2)[:, None] + column)[in_b]]
    tokens[:, 0] = CLS
    tokens[np.arange(len(rows)), a_size + 1] = SEP
    tokens[np.arange(len(rows)), lengths - 1] = SEP
    types = ((column >= a_size[:, None] + 2) & (column < lengths[:, None])).astype(np.int64)
    return tokens, types, lengths


def _fit(a_size: Ints, b_size: Ints, room: int) -> tuple[Ints, Ints]:
    """Sizes cut to fit: the longer one first down to the shorter, then both alike."""
    half_up, half_down = (room + 1) // 2, room // 2
    a_cut = np.maximum(np.minimum(a_size, half_up), np.minimum(a_size, room - b_size))
    b_cut = np.maximum(np.minimum(b_size, half_down), np.minimum(b_size, room - a_cut))
    return a_cut, b_cut
