"""Batches of rows of like length, in random order: functions of (seed, epoch)."""

from abc import ABC, abstractmethod
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from pipelines.formats.randomness import generator
from pipelines.frame.errors import DataError, broken_rule
from pipelines.training.positions import Position

Ints = npt.NDArray[np.int64]
_STEP = 4  # lengths that count as one where rows are batched


class Bucketed:
    """Which rows make the batch of a position.

    An epoch's rows are sorted by length, equal ones in random order, and cut into batches, which
    come in random order.

    Args:
        lengths: of all rows, as they are padded to; or [rows, 2], both sides of pairs, of which the
            first is sorted by before the second.
        batch_size: rows per update, all ranks together; or tokens, padding included.
        seed: of the project.
        stream: name of the random stream.
        where: whose rows, and the key of their batch size, for the error.
        in_tokens: ``batch_size`` is a budget of tokens. Batches of rows are all whole, rows that
            fill none are left out, others in each epoch; batches of tokens take in every row.

    Raises:
        DataError: there are fewer rows than a batch takes, or a row is longer than the budget.
    """

    def __init__(
        self,
        lengths: Ints,
        batch_size: int,
        *,
        seed: int,
        stream: str,
        where: tuple[str, str],
        in_tokens: bool = False,
    ) -> None:
        self._sides = lengths[:, None] if lengths.ndim == 1 else lengths
        self._longest = self._sides.max(axis=1, initial=0)
        self._batch_size, self._in_tokens = batch_size, in_tokens
        self._seed, self._stream = seed, stream
        self._plan = lru_cache(maxsize=2)(self._plan_of_epoch)
        if in_tokens and int(self._longest.max(initial=1)) > batch_size:
            rule = f"not exceed the tokens of a batch ({batch_size})"
            raise DataError(
                broken_rule(
                    where[0], "longest", int(self._longest.max()), rule, f"raise {where[1]}"
                )
            )
        if len(lengths) < (1 if in_tokens else batch_size):
            rule, remedy = f"be at least one batch ({batch_size})", f"lower {where[1]} or add some"
            raise DataError(broken_rule(where[0], "number", len(lengths), rule, remedy))

    def after(self, position: Position) -> Position:
        """The next update: further on in the epoch,
        or in the next one if no whole batch is left.
        """
        order, bounds = self._plan(position.epoch)
        end = int(bounds[np.searchsorted(bounds, position.samples) + 1])
        if end < len(order):
            return Position(position.update + 1, position.epoch, end)
        return Position(position.update + 1, position.epoch + 1, 0)

    def rows(self, position: Position) -> Ints:
        """Row numbers of the batch at a position."""
        order, bounds = self._plan(position.epoch)
        return order[position.samples : bounds[np.searchsorted(bounds, position.samples) + 1]]

    def _plan_of_epoch(self, epoch: int) -> tuple[Ints, Ints]:
        """Row numbers, batch after batch, and where each batch begins."""
        rng = generator(self._seed, self._stream, epoch)
        order = rng.permutation(len(self._sides))
        if not self._in_tokens:
            order = order[: len(order) // self._batch_size * self._batch_size]
        batches = self._cut(self._by_length(order))
        batches = [batches[number] for number in rng.permutation(len(batches))]
        return np.concatenate(batches), np.cumsum([0, *map(len, batches)])

    def _by_length(self, rows: Ints) -> Ints:
        """Rows of like length beside each other.

        Batches of tokens sort by the first side, then by the last, rising under even lengths and
        falling under odd ones. Batches of rows, for small corpora, sort by the longer side in
        steps: less alike from epoch to epoch.
        """
        if not self._in_tokens:
            return rows[np.argsort(-(-self._longest[rows] // _STEP), kind="stable")]
        first, last = self._sides[rows, 0], self._sides[rows, -1]
        return rows[np.lexsort((np.where(first % 2, -last, last), first))]

    def _cut(self, rows: Ints) -> list[Ints]:
        """Rows in order of length into batches."""
        if not self._in_tokens:
            return [
                rows[first : first + self._batch_size]
                for first in range(0, len(rows), self._batch_size)
            ]
        found, first = [], 0
        while first < len(rows):
            most = rows[first : first + self._batch_size // int(self._longest[rows[first]])]
            cost = np.maximum.accumulate(self._longest[most]) * np.arange(1, len(most) + 1)
            end = first + int(np.searchsorted(cost, self._batch_size, "right"))
            found.append(rows[first:end])
            first = end
        return found


class BucketedBatches(ABC):
    """The batches of a `Bucketed` order, each rank its part: a `BatchSource`.

    Args:
        order: which rows make the batch of a position.
        fingerprint: see `BatchSource.fingerprint`.
        rank: this one of ``world_size``.
        world_size: ranks that share a batch.
    """

    def __init__(self, order: Bucketed, fingerprint: str, *, rank: int, world_size: int) -> None:
        self._order, self._rank, self._world_size = order, rank, world_size
        self.fingerprint = fingerprint

    def after(self, position: Position) -> Position:
        """See `BatchSource.after`."""
        return self._order.after(position)

    def __call__(self, position: Position) -> Any:
        """This rank's part of the batch of one update; where there is no row for it,
        one that counts nothing.
        """
        rows = self._order.rows(position)
        if len(mine := rows[self._rank :: self._world_size]):
            return self.collate(mine, position)
        return self.collate(rows[:1], position).without_terms()

    @abstractmethod
    def collate(self, rows: Ints, position: Position) -> Any:
        """Some rows as a batch with ``without_terms``."""
