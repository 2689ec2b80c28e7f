"""Run a training to its last update: log, validate, save, resume, stop politely."""

import logging
import math
import os
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import lightning.pytorch as lightning
import torch
from torch.utils.data import DataLoader, IterableDataset

from pipelines.errors import CheckFailed, Preempted
from pipelines.hardware import Hardware
from pipelines.stage import StageRun
from pipelines.training.checkpoints import Checkpoints, RandomStates
from pipelines.training.module import TrainingModule


class Batches(IterableDataset[Any]):
    """Batches of updates ``first`` … ``total``: a pure function of the update, read by any number of workers.

    Without a length on purpose: Lightning would compare it with the number of batches seen before the resume.
    """

    def __init__(self, batch_of: Callable[[int], Any], first: int, total: int) -> None:
        self._batch_of = batch_of
        self._updates = range(first, total)

    def __iter__(self) -> Iterator[Any]:
        worker = torch.utils.data.get_worker_info()
        updates = self._updates[worker.id :: worker.num_workers] if worker else self._updates
        return (self._batch_of(update) for update in updates)


def train(module: TrainingModule, batch_of: Callable[[int], Any], run: StageRun) -> dict[str, float]:
    """Train ``module`` until its last update, going on from the newest checkpoint of the run folder.

    Returns:
        Validation averages after the last update.

    Args:
        module: network, losses, optimizer.
        batch_of: update number (from 0) → this rank's part of its batch.
        run: the stage at work.

    Raises:
        Preempted: the run was told to stop; a checkpoint of the last finished update is saved.
        CheckFailed: the loss is not finite.
        CheckpointError: the newest checkpoint is damaged.
    """
    torch.set_num_threads(run.hardware.num_threads)
    checkpoints = Checkpoints(run.folder.checkpoints)
    found = checkpoints.newest()
    first, path = found or (0, None)
    if first:
        print(f"going on after update {first} from {path}", flush=True)
    run.resume_at(first)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)  # no tips, no list of absent devices
    warnings.filterwarnings("ignore", message=".*treespec, LeafSpec.*")  # Lightning 2.6 under torch 2.13
    loop = TrainingLoop(run, checkpoints, first)
    trainer = _trainer(module, run, [RandomStates(module.meter), loop])
    loader = DataLoader(
        Batches(batch_of, first, module.params.updates), batch_size=None, num_workers=run.hardware.num_workers
    )
    if first < module.params.updates:
        with run.stop.cooperative():
            trainer.fit(module, loader, ckpt_path=path, weights_only=True)
    else:
        module.load_state_dict(torch.load(path, weights_only=True)["state_dict"])  # type: ignore[arg-type]
    run.stop.install()
    if trainer.global_step < module.params.updates and first < module.params.updates:
        raise Preempted(f"checkpoint saved after update {trainer.global_step}; start again to go on")
    return loop.measured or module.validate()


def rank_and_world_size(hardware: Hardware) -> tuple[int, int]:
    """This process's number and how many there are, before torch.distributed is up.

    Lightning starts ranks with LOCAL_RANK and NODE_RANK set; torchrun sets RANK.
    """
    world_size = hardware.devices * hardware.num_nodes
    node, local = int(os.environ.get("NODE_RANK", "0")), int(os.environ.get("LOCAL_RANK", "0"))
    return int(os.environ.get("RANK", str(node * hardware.devices + local))), world_size


def uses_gpu(hardware: Hardware) -> bool:
    """Whether to compute on CUDA devices; other accelerators lack the float64 sums of the meter."""
    return hardware.accelerator == "gpu" or (hardware.accelerator == "auto" and torch.cuda.is_available())


def _trainer(module: TrainingModule, run: StageRun, callbacks: list[lightning.Callback]) -> lightning.Trainer:
    hardware, params = run.hardware, module.params
    return lightning.Trainer(
        accelerator="gpu" if uses_gpu(hardware) else "cpu",
        devices=hardware.devices,
        num_nodes=hardware.num_nodes,
        strategy=hardware.strategy,
        precision=params.precision,
        max_steps=params.updates,
        callbacks=callbacks,
        default_root_dir=run.folder.path,
        deterministic=True,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


class TrainingLoop(lightning.Callback):
    """What happens between updates: curves, validation, checkpoints, the polite stop."""

    def __init__(self, run: StageRun, checkpoints: Checkpoints, first: int) -> None:
        self._run = run
        self._checkpoints = checkpoints
        self._first = first
        self._clock = time.perf_counter()
        self._started = self._clock
        self.measured: dict[str, float] = {}

    def on_train_start(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Take the signals back: Lightning's own SIGTERM handler dead-locks DDP and ends with exit code 0.

        A SIGTERM it saw while setting up stands in our own flag too.
        """
        self._run.stop.install()
        trainer._signal_connector.received_sigterm = False
        self._started = self._clock = time.perf_counter()

    def on_train_batch_end(self, trainer: lightning.Trainer, pl_module: Any, *_: Any) -> None:
        """After every update."""
        update, params = trainer.global_step, pl_module.params
        last = update == params.updates
        if update % params.log_every == 0 or last:
            self._log(trainer, pl_module)
        if update % params.validate_every == 0 or last:
            self._validate(trainer, pl_module)
        stop = trainer.strategy.reduce_boolean_decision(self._run.stop.requested, all=False)
        if stop or last or update % self._run.hardware.checkpoint_every == 0:
            self._run.metrics.sync()
            self._checkpoints.save(trainer)
        if stop and not last:
            trainer.should_stop = True

    def _log(self, trainer: lightning.Trainer, module: TrainingModule) -> None:
        update, total = trainer.global_step, module.params.updates
        averages = module.meter.read()
        if not all(math.isfinite(value) for value in averages.values()):
            raise CheckFailed(
                f"training: loss ({averages}) must be finite; it was not within the last {module.params.log_every} "
                f"updates before {update}. Lower the learning rate or raise warmup_updates"
            )
        now = time.perf_counter()
        speed = {"tokens_per_s": module.num_tokens / max(1e-9, now - self._clock)}
        module.num_tokens, self._clock = 0, now
        if not trainer.is_global_zero:
            return
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        self._run.log(update, {**averages, "learning_rate": rate}, speed)
        left = (now - self._started) / (update - self._first) * (total - update)
        shown = "  ".join(f"{name} {value:.4g}" for name, value in averages.items())
        print(f"update {update}/{total}  {shown}  {speed['tokens_per_s']:.0f} tokens/s  {left:.0f} s left", flush=True)

    def _validate(self, trainer: lightning.Trainer, module: TrainingModule) -> None:
        averages = self.measured = module.validate()
        if trainer.is_global_zero:
            self._run.log(trainer.global_step, averages)
            shown = "  ".join(f"{name} {value:.4g}" for name, value in averages.items())
            print(f"update {trainer.global_step}/{module.params.updates}  {shown}", flush=True)
        self._clock = time.perf_counter()
