"""Fine-tuning batches: update number → the same pairs wherever it is computed.

Pairs of like length share a batch, batches come in random order; both are functions of (seed, epoch).
Shapes: B batch, S source length, T target length.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pipelines.errors import DataError, broken_rule
from pipelines.randomness import generator
from pipelines.shards.bucketing import bucketed_batches
from pipelines.shards.format import PairShard
from pipelines.tokenizer.special_tokens import CLS, END, PAD, SEP, START

_LENGTH_STEP = 4  # lengths are padded to a multiple: few shapes, so matrix kernels are set up once


class PairBatch(NamedTuple):
    """One update's data on one rank.

    Attributes:
        source_BS: [CLS] x [SEP].
        source_lengths_B: real source tokens.
        inputs_BT: [CLS] y, what the decoder is given.
        labels_BT: y [SEP], what it should answer; padding is `PAD`.
        update: update number, from 0.
        num_tokens: real target tokens.
    """

    source_BS: Tensor
    source_lengths_B: Tensor
    inputs_BT: Tensor
    labels_BT: Tensor
    update: int
    num_tokens: int


class PairBatches:
    """Training batches of all ranks.

    Raises:
        DataError: there are fewer pairs than rows in a batch.
    """

    def __init__(self, shard: PairShard, batch_size: int, *, seed: int, rank: int = 0, world_size: int = 1) -> None:
        self._shard, self._batch_size, self._seed = shard, batch_size, seed
        self._rank, self._world_size = rank, world_size
        self._per_epoch = len(shard) // batch_size
        self._plan = lru_cache(maxsize=2)(self._plan_of_epoch)
        if not self._per_epoch:
            rule, remedy = f"be at least one batch ({batch_size})", "lower seq2seq.common.batch_size or add pairs"
            raise DataError(broken_rule("seq2seq, training pairs", "number of pairs", len(shard), rule, remedy))

    def __call__(self, update: int) -> PairBatch:
        """This rank's part of the batch of one update."""
        epoch, index = divmod(update, self._per_epoch)
        rows = self._plan(epoch)[index]
        return collate(self._shard, rows[self._rank :: self._world_size], update)

    def _plan_of_epoch(self, epoch: int) -> npt.NDArray[np.int64]:
        """Pair numbers [batches, batch size]."""
        longest = np.maximum(self._shard.source.lengths, self._shard.target.lengths)
        return bucketed_batches(longest, self._batch_size, generator(self._seed, "pair order", epoch))


def validation_batches(shard: PairShard, batch_size: int) -> list[PairBatch]:
    """All pairs of a split, sorted by length."""
    order = np.argsort(shard.target.lengths, kind="stable")
    return [collate(shard, order[first : first + batch_size], 0) for first in range(0, len(order), batch_size)]


def collate(shard: PairShard, rows: npt.NDArray[np.int64], update: int) -> PairBatch:
    """Pad some pairs into a batch."""
    source_BS, source_lengths_B = sources([shard.source[row] for row in rows])
    targets = [shard.target[row].astype(np.int64) for row in rows]
    T = _rounded(max(map(len, targets)) + 1)
    inputs_BT, labels_BT = np.full((2, len(rows), T), PAD, np.int64)
    for row, target in enumerate(targets):
        inputs_BT[row, 0] = START
        inputs_BT[row, 1 : len(target) + 1] = target
        labels_BT[row, : len(target)] = target
        labels_BT[row, len(target)] = END
    num_tokens = sum(map(len, targets)) + len(targets)
    return PairBatch(
        source_BS, source_lengths_B, torch.from_numpy(inputs_BT), torch.from_numpy(labels_BT), update, num_tokens
    )


def sources(rows: Sequence[npt.NDArray[np.uint16]]) -> tuple[Tensor, Tensor]:
    """[CLS] x [SEP] of each sentence, padded: ids [B, S] and lengths [B]."""
    lengths = [len(row) + 2 for row in rows]
    source_BS = np.full((len(rows), _rounded(max(lengths))), PAD, np.int64)
    for number, row in enumerate(rows):
        source_BS[number, 0] = CLS
        source_BS[number, 1 : len(row) + 1] = row
        source_BS[number, len(row) + 1] = SEP
    return torch.from_numpy(source_BS), torch.tensor(lengths)


def _rounded(length: int) -> int:
    return -(-length // _LENGTH_STEP) * _LENGTH_STEP
