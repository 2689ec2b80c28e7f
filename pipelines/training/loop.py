"""What happens between updates: curves, validation, checkpoints, the polite stop."""

import sys
import time
from typing import Any

import lightning.pytorch as lightning
import torch
from tqdm import tqdm

from pipelines.frame.errors import CheckFailed
from pipelines.frame.memory import release_freed_memory
from pipelines.frame.stage import StageRun
from pipelines.optim.params import OptimizationParams
from pipelines.training.checkpoints import Checkpoint, Checkpoints
from pipelines.training.module import TrainingModule
from pipelines.training.positions import BatchSource, Position, save_position
from pipelines.watch.speed import Speed, TimedLoader, matmul_rate


class TrainingLoop(lightning.Callback):
    """Hooks of one training.

    Args:
        run: the stage at work.
        checkpoints: where they go.
        source: the data, whose position is saved.
        loader: what batches come from.
        found: the checkpoint the run goes on from.
        machine: what computes, for the checkpoints.
    """

    def __init__(
        self,
        run: StageRun,
        checkpoints: Checkpoints,
        source: BatchSource,
        loader: TimedLoader,
        found: Checkpoint | None,
        machine: str,
    ) -> None:
        self._run, self._checkpoints, self._source, self._loader = run, checkpoints, source, loader
        self._machine = machine
        self._first = found.update if found else 0
        self.kept: list[dict[str, Any]] = list(found.seal["kept"]) if found else []
        self.finished = bool(found and found.seal["finished"])
        self.measured: dict[str, float] = {}
        self._unchecked: list[Position] = []
        self._saved_at = time.monotonic()

    def on_train_start(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Take the signals back: Lightning's own SIGTERM handler dead-locks DDP and ends with exit code 0.

        A SIGTERM it saw while setting up stands in our own flag too.
        """
        self._run.stop.install()
        trainer._signal_connector.received_sigterm = False
        dtype = torch.bfloat16 if pl_module.params.precision == "bf16-mixed" else torch.float32
        self._speed = Speed(self._loader, matmul_rate(pl_module.device, dtype), trainer.world_size)
        shown = trainer.is_global_zero and sys.stdout.isatty()
        self._bar = tqdm(total=pl_module.updates, initial=self._first, unit=" updates", disable=not shown, leave=False)
        self._started = self._saved_at = time.monotonic()

    def on_train_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Leave a clean terminal."""
        self._bar.close()

    def on_train_batch_end(self, trainer: lightning.Trainer, pl_module: Any, outputs: Any, batch: Any, *_: Any) -> None:
        """After every update."""
        update, params = trainer.global_step, pl_module.params
        last, improved = update == pl_module.updates, False
        self._speed.add(pl_module.cost(batch))
        self._unchecked.append(batch.position)
        self._bar.update()
        if update % params.log_every == 0 or last:
            self._log(trainer, pl_module)
        if update % params.validate_every == 0 or last:
            improved = self._validate(trainer, pl_module)
        self.finished = last or self._out_of_patience(update, params)
        stop, due = self._agreed(trainer, self._run.stop.requested, self._checkpoint_due(update))
        if stop or self.finished or due or improved:
            self._check_finite(pl_module)
            self._run.metrics.sync()
            self._run.samples.sync()
            position = save_position(self._source, self._source.after(batch.position))
            state = {"position": position, "kept": self.kept, "finished": self.finished, "machine": self._machine}
            self._checkpoints.save(trainer, state)
            self._saved_at = time.monotonic()
        if (stop or self.finished) and not last:
            trainer.should_stop = True

    def _out_of_patience(self, update: int, params: OptimizationParams) -> bool:
        """Whether enough validations have passed without a better one. Judged at validations only."""
        if params.patience == "none" or update % params.validate_every or not self.kept:
            return False
        return update - best(self.kept)["update"] >= params.patience * params.validate_every

    def _checkpoint_due(self, update: int) -> bool:
        hardware = self._run.hardware
        minutes = (time.monotonic() - self._saved_at) / 60
        return update % hardware.checkpoint_every == 0 or minutes >= hardware.checkpoint_minutes

    @staticmethod
    def _agreed(trainer: lightning.Trainer, *wishes: bool) -> list[bool]:
        """Each wish, if any rank has it; ranks must not part ways."""
        if trainer.world_size == 1:
            return list(wishes)
        return [trainer.strategy.reduce_boolean_decision(wish, all=False) for wish in wishes]

    def _check_finite(self, module: TrainingModule) -> None:
        broken = int(module.not_finite_since)
        if broken < 0:
            self._unchecked.clear()
            return
        position = next(position for position in self._unchecked if position.update == broken)
        end = self._source.after(position)
        samples = f"from {position.samples}" + (f" to {end.samples - 1}" if end.epoch == position.epoch else " on")
        raise CheckFailed(
            f"training: loss and gradient must be finite; update {broken + 1}, on samples {samples} of epoch "
            f"{position.epoch}, broke it. The last checkpoint is kept; lower the learning rate or raise warmup_updates"
        )

    def _log(self, trainer: lightning.Trainer, module: TrainingModule) -> None:
        self._check_finite(module)
        averages, speed = module.meter.read(), self._speed.read(module.device)
        if not trainer.is_global_zero:
            return
        update, rate = trainer.global_step, trainer.optimizers[0].param_groups[0]["lr"]
        self._run.log(update, {**averages, "learning_rate": rate}, speed)
        left = (time.monotonic() - self._started) / (update - self._first) * (module.updates - update)
        self._show(update, module.updates, averages, f"{speed['tokens_per_s']:.0f} tokens/s  {left:.0f} s left")

    def _validate(self, trainer: lightning.Trainer, module: TrainingModule) -> bool:
        """Measure; whether these weights are wanted, as far as is known by now."""
        averages = self.measured = module.validate()
        release_freed_memory()
        mine = {"update": trainer.global_step, "value": module.validation_rank(averages)}
        self.kept = kept([*self.kept, mine], module.params)
        left = module.updates - trainer.global_step
        needed = mine == best(self.kept) or left < module.params.average * module.params.validate_every
        needed = needed or module.params.select == "best"
        if trainer.is_global_zero:
            self._run.log(trainer.global_step, averages)
            if samples := module.samples():
                self._run.log_samples(trainer.global_step, samples)
            self._show(trainer.global_step, module.updates, averages)
            for warning in module.warnings(trainer.global_step, averages):
                tqdm.write(f"warning: {warning}", file=sys.stderr)
        self._speed.restart()
        return needed and mine in self.kept

    @staticmethod
    def _show(update: int, total: int, averages: dict[str, float], end: str = "") -> None:
        shown = "  ".join(f"{name} {value:.4g}" for name, value in averages.items() if "/" not in name)
        tqdm.write(f"update {update}/{total}  {shown}  {end}".rstrip(), file=sys.stdout)
        sys.stdout.flush()


def best(validations: list[dict[str, Any]]) -> dict[str, Any]:
    """The first of the lowest value."""
    return min(validations, key=lambda one: (one["value"], one["update"]))


def kept(validations: list[dict[str, Any]], params: OptimizationParams) -> list[dict[str, Any]]:
    """Those whose checkpoints stay: the `wanted` ones, and the best to go back to."""
    stay = wanted(validations, params)
    return sorted(stay + [one for one in [best(validations)] if one not in stay], key=lambda one: one["update"])


def wanted(validations: list[dict[str, Any]], params: OptimizationParams) -> list[dict[str, Any]]:
    """Those of some validations, {update, value}, whose weights a section selects, in the order of their updates."""
    if params.select == "best":
        chosen = sorted(validations, key=lambda one: (one["value"], one["update"]))[: params.average]
        return sorted(chosen, key=lambda one: one["update"])
    return validations[-params.average :]
