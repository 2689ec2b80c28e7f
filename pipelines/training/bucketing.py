"""Batches of rows of like length, in random order: functions of (seed, epoch)."""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from pipelines.errors import DataError, broken_rule
from pipelines.randomness import generator
from pipelines.training.positions import Position

Ints = npt.NDArray[np.int64]
_POOL = 20  # batches sorted by length together: enough for little padding, few enough to stay random


class Bucketed:
    """Which rows make the batch of a position.

    Args:
        lengths: of all rows.
        batch_size: rows per update, all ranks together.
        seed: of the project.
        stream: name of the random stream.
        where: whose rows, and the key of their batch size, for the error.

    Raises:
        DataError: there are fewer rows than a batch takes.
    """

    def __init__(self, lengths: Ints, batch_size: int, *, seed: int, stream: str, where: tuple[str, str]) -> None:
        self._lengths, self._batch_size, self._seed, self._stream = lengths, batch_size, seed, stream
        self._plan = lru_cache(maxsize=2)(self._plan_of_epoch)
        if len(lengths) < batch_size:
            rule, remedy = f"be at least one batch ({batch_size})", f"lower {where[1]} or add some"
            raise DataError(broken_rule(where[0], "number", len(lengths), rule, remedy))

    def after(self, position: Position) -> Position:
        """The next update: further on in the epoch, or in the next one if no whole batch is left."""
        samples = position.samples + self._batch_size
        if samples + self._batch_size <= len(self._lengths):
            return Position(position.update + 1, position.epoch, samples)
        return Position(position.update + 1, position.epoch + 1, 0)

    def rows(self, position: Position) -> Ints:
        """Row numbers [batch_size]."""
        return self._plan(position.epoch)[position.samples // self._batch_size]

    def _plan_of_epoch(self, epoch: int) -> Ints:
        """Row numbers [batches, batch_size]; rows that fill no batch are left out, others each time."""
        rng, size = generator(self._seed, self._stream, epoch), self._batch_size
        num_batches = len(self._lengths) // size
        order = rng.permutation(len(self._lengths))[: num_batches * size]
        pool = _POOL * size
        pools = [order[first : first + pool] for first in range(0, len(order), pool)]
        in_order = np.concatenate([rows[np.argsort(self._lengths[rows], kind="stable")] for rows in pools])
        return rng.permutation(in_order.reshape(num_batches, size), axis=0)
