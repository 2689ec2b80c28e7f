"""Fine-tuning batches: position → the same pairs wherever it is computed.

Pairs of like length share a batch, batches come in random order; both are functions of (seed,
epoch).

Shapes: B batch, S source length, T target length.
"""

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pipelines.formats.randomness import generator
from pipelines.formats.shards.arrays import PairShard, Ragged
from pipelines.formats.vocabulary.special_tokens import END, PAD, START
from pipelines.frame.errors import DataError, broken_rule
from pipelines.models.protocol.sources import sources
from pipelines.training.bucketing import Bucketed, BucketedBatches, Ints
from pipelines.training.positions import Position
from pipelines.training.sharing import MadeWhenAsked


class PairBatch(NamedTuple):
    """One update's data on one rank.

    Attributes:
        source_BS: [CLS] x [SEP].
        source_lengths_B: real source tokens.
        inputs_BT: [CLS] y, what the decoder is given.
        labels_BT: y [SEP], what it should answer; padding is `PAD`, and so is the place of [SEP]
            after a target that was cut: it does not end there.
        lengths: [3, B] on the CPU: source tokens, inputs and answers of each pair.
        position: of the update.
    """

    source_BS: Tensor
    source_lengths_B: Tensor
    inputs_BT: Tensor
    labels_BT: Tensor
    lengths: Ints
    position: Position

    @property
    def num_tokens(self) -> int:
        """Real target tokens, each with an answer."""
        return int(self.lengths[2].sum())

    def without_terms(self) -> "PairBatch":
        """The same inputs, and nothing to answer:
        what a rank computes along with the others that has no rows.
        """
        none = self.lengths * np.array([[1], [1], [0]])
        return self._replace(labels_BT=torch.full_like(self.labels_BT, PAD), lengths=none)

    def split(self, rows: int) -> Iterator["PairBatch"]:
        """Micro-batches of at most ``rows`` pairs."""
        for first in range(0, len(self.source_BS), rows):
            part = slice(first, first + rows)
            yield PairBatch(
                self.source_BS[part],
                self.source_lengths_B[part],
                self.inputs_BT[part],
                self.labels_BT[part],
                self.lengths[:, part],
                self.position,
            )


class PairBatches(BucketedBatches):
    """Training batches of all ranks: ``batch_size`` pairs, or tokens of the longer side,
    padding included.

    Raises:
        DataError: there are fewer pairs than a batch takes, or one is longer than the budget.
    """

    def __init__(
        self,
        shard: PairShard,
        batch_size: int,
        *,
        seed: int,
        in_tokens: bool = False,
        digest: str = "",
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.shard = shard
        lengths = np.stack([shard.target.lengths + 1, shard.source.lengths + 2], axis=1)
        where = ("seq2seq, training pairs", "seq2seq.common.batch_size")
        order = Bucketed(
            lengths, batch_size, seed=seed, stream="pair order", where=where, in_tokens=in_tokens
        )
        fingerprint = f"{digest} {seed} {batch_size} {in_tokens}"
        super().__init__(order, fingerprint, rank=rank, world_size=world_size)

    def collate(self, rows: Ints, position: Position) -> PairBatch:
        """See `BucketedBatches.collate`."""
        return collate(self.shard, rows, position)


def draw_pairs(shard: PairShard, count: int | Literal["all"], seed: int) -> PairShard:
    """``count`` of the pairs, drawn at random: more of them hold those of a smaller number.

    Raises:
        DataError: there are fewer.
    """
    if count == "all":
        return shard
    if count > len(shard):
        rule = f"not exceed the training pairs there are ({len(shard)})"
        raise DataError(
            broken_rule(
                "params.yaml", "seq2seq.common.training_pairs", count, rule, "lower it, or set all"
            )
        )
    rows = np.sort(generator(seed, "drawn pairs").permutation(len(shard))[:count])
    sides = []
    for side in (shard.source, shard.target):
        offsets = np.concatenate([[0], np.cumsum(side.lengths[rows])])
        sides.append(Ragged(np.concatenate([side[row] for row in rows]), offsets))
    return PairShard(sides[0], sides[1], np.flatnonzero(np.isin(rows, shard.cut_targets)))


def validation_batches(shard: PairShard, batch_size: int = 64) -> Sequence[PairBatch]:
    """All pairs of a split, sorted by length."""
    order = np.argsort(shard.target.lengths, kind="stable")
    start = Position(0, 0, 0)

    def batch(number: int) -> PairBatch:
        return collate(shard, order[number * batch_size : (number + 1) * batch_size], start)

    return MadeWhenAsked(-(-len(order) // batch_size), batch)


def collate(shard: PairShard, rows: npt.NDArray[np.int64], position: Position) -> PairBatch:
    """Some pairs as a batch, padded to its longest source and target."""
    source_BS, source_lengths_B = sources([shard.source[row] for row in rows])
    targets = [shard.target[row].astype(np.int64) for row in rows]
    T = max(map(len, targets)) + 1
    inputs_BT, labels_BT = np.full((2, len(rows), T), PAD, np.int64)
    cut_B = np.isin(rows, shard.cut_targets)
    for row, target in enumerate(targets):
        inputs_BT[row, 0] = START
        inputs_BT[row, 1 : len(target) + 1] = target
        labels_BT[row, : len(target)] = target
        labels_BT[row, len(target)] = PAD if cut_B[row] else END
    inputs_B = np.array([len(target) + 1 for target in targets])
    lengths = np.stack([source_lengths_B.numpy(), inputs_B, inputs_B - cut_B])
    return PairBatch(
        source_BS,
        source_lengths_B,
        torch.from_numpy(inputs_BT),
        torch.from_numpy(labels_BT),
        lengths,
        position,
    )
