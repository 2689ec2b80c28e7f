"""Resumable checkpoints: written whole, found again, refused when damaged.

A checkpoint is Lightning's (model, optimizer, schedule, loops) plus the half-read meter of all
ranks. Its name carries the update it was saved after; its seal, a JSON file beside it, the sha256
and the position in the data.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import torch
from torch import Tensor

from pipelines.frame.errors import CheckpointError
from pipelines.frame.files import sha256_of, sync, write_json
from pipelines.training.meter import Meter


@dataclass(frozen=True)
class Checkpoint:
    """One sealed checkpoint.

    Attributes:
        update: updates done.
        path: Lightning's file.
        seal: ``position`` in the data; ``kept``, {update, value} of the validations whose weights
            stay so far; ``finished``, whether the training had ended; ``machine``, what computed
            it.
    """

    update: int
    path: Path
    seal: dict[str, Any]


class Checkpoints:
    """The checkpoints of one run folder: the last few and those whose weights are wanted."""

    def __init__(self, folder: Path, keep: int) -> None:
        self._folder, self._keep = folder, keep

    def newest(self) -> Checkpoint | None:
        """The newest checkpoint, or None for a clean start.

        Raises:
            CheckpointError: the newest file is not the one that was written. An older one is not
                taken silently: who resumes further back should know it.
        """
        paths = sorted(self._folder.glob("update-*.ckpt"))
        if not paths:
            return None
        remedy = f"go on from {paths[-2].name}" if len(paths) > 1 else "start again"
        return _open(paths[-1], remedy)

    def at(self, update: int) -> Checkpoint:
        """The checkpoint saved after ``update``.

        Raises:
            CheckpointError: it is damaged.
        """
        return _open(self._path(update), "train again")

    def _path(self, update: int) -> Path:
        return self._folder / f"update-{update:08d}.ckpt"

    def save(self, trainer: lightning.Trainer, state: dict[str, Any]) -> None:
        """Save after the current update. On every rank the checkpoint is there afterwards."""
        self._folder.mkdir(parents=True, exist_ok=True)
        temporary = self._path(trainer.global_step).with_suffix(".tmp")
        try:
            # All ranks take part, rank 0 writes.
            trainer.save_checkpoint(temporary, weights_only=False)
            if trainer.is_global_zero:
                self._seal(temporary, state)
        finally:
            if trainer.is_global_zero:
                temporary.unlink(missing_ok=True)  # of a full disk
        trainer.strategy.barrier()

    def _seal(self, temporary: Path, state: dict[str, Any]) -> None:
        """Make a written file a checkpoint: fsync, seal, rename; old ones go last."""
        path = temporary.with_suffix(".ckpt")
        sync(temporary)
        seal = path.with_suffix(".json")
        write_json(seal, {"sha256": sha256_of(temporary), **state})
        sync(seal)
        temporary.replace(path)
        sync(self._folder)
        wanted = {self._path(one["update"]) for one in state["kept"]}
        for old in sorted(self._folder.glob("update-*.ckpt"))[: -self._keep]:
            if old not in wanted:
                old.unlink()  # before its seal: a file without one counts as damaged
                old.with_suffix(".json").unlink(missing_ok=True)


def update_of(path: Path) -> int:
    """The update after which a checkpoint was saved, by its name."""
    return int(path.stem.partition("-")[2])


def _open(path: Path, remedy: str) -> Checkpoint:
    try:
        seal = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        whole = seal["sha256"] == sha256_of(path)
    except (OSError, ValueError, KeyError):
        whole = False
    if not whole:
        raise CheckpointError(
            f"{path}: is damaged (its sha256 does not fit); to {remedy}: rm {path}"
        )
    return Checkpoint(update_of(path), path, seal)


class MeterStates(lightning.Callback):
    """Saves and restores the half-read meter of every rank.

    Random states need no saving: each forward pass begins a stream of its own (`TrainingModule`).
    """

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._loaded: list[dict[str, Tensor]] = []

    def state_dict(self) -> dict[str, Any]:
        """Collected on all ranks, kept by rank 0 in the checkpoint."""
        mine = self._meter.state_dict()
        if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
            return {"ranks": [mine]}
        gathered: list[Any] = [None] * torch.distributed.get_world_size()
        torch.distributed.all_gather_object(gathered, mine)
        return {"ranks": gathered}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep them until training starts."""
        self._loaded = state_dict["ranks"]

    def on_train_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """This rank's sums; on another number of ranks the first one has the sums of all."""
        if len(self._loaded) == trainer.world_size:
            self._meter.load_state_dict(self._loaded[trainer.global_rank])
        elif self._loaded:
            all_ranks = {
                name: torch.stack([rank[name] for rank in self._loaded]).sum(0)
                for name in self._loaded[0]
            }
            first = trainer.global_rank == 0
            self._meter.load_state_dict({name: pair * first for name, pair in all_ranks.items()})
