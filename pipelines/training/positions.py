"""Where a training stands in its data: counts,
so that going on costs nothing and needs no library's buffer.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import torch
from torch.utils.data import IterableDataset

from pipelines.frame.errors import CheckpointError


class Position(NamedTuple):
    """The update whose data come next.

    Attributes:
        update: its number, from 0.
        epoch: pass over the data.
        samples: rows of the epoch that earlier updates took.
    """

    update: int
    epoch: int
    samples: int


class BatchSource(Protocol):
    """Batches as a function of the position:
    the same on any number of ranks and loader processes.
    """

    @property
    def fingerprint(self) -> str:
        """Digest of all that decides which samples stand where."""

    def after(self, position: Position) -> Position:
        """The position of the update after the one at ``position``."""

    def __call__(self, position: Position) -> Any:
        """This rank's part of the batch; it carries the position as ``position``."""


class Batches(IterableDataset[Any]):
    """The batches from ``first`` to the last update, read by any number of loader processes.

    Without a length on purpose: Lightning would compare it with the number of batches seen before
    the resume.
    """

    def __init__(self, source: BatchSource, first: Position, total: int) -> None:
        self._source, self._first, self._total = source, first, total

    def _positions(self) -> Iterator[Position]:
        position = self._first
        while position.update < self._total:
            yield position
            position = self._source.after(position)

    def __iter__(self) -> Iterator[Any]:
        worker = torch.utils.data.get_worker_info()
        number, of = (worker.id, worker.num_workers) if worker else (0, 1)
        turn = self._first.update  # the loader asks worker 0 first, wherever the run goes on
        mine = (
            position for position in self._positions() if (position.update - turn) % of == number
        )
        return map(self._source, mine)


def save_position(source: BatchSource, position: Position) -> dict[str, Any]:
    """The data's part of a checkpoint: {fingerprint, update, epoch, samples}."""
    return {"fingerprint": source.fingerprint, **position._asdict()}


def load_position(source: BatchSource, state: dict[str, Any], path: object) -> Position:
    """The position of a checkpoint.

    Raises:
        CheckpointError: it was counted in other data.
    """
    fingerprint = state["fingerprint"]
    if fingerprint != source.fingerprint:
        raise CheckpointError(
            f"{path}: its data ({fingerprint[:12]}) must be the data at hand "
            f"({source.fingerprint[:12]}); put the data back, or start again: rm {path}"
        )
    return Position(state["update"], state["epoch"], state["samples"])
