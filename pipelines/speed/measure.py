"""A few updates of a training by Lightning's Trainer, and of the same batch again and again."""

import statistics
import time
from typing import Any

import lightning.pytorch as lightning
import torch

from pipelines.frame.stage import StageRun
from pipelines.speed.causes import Measured
from pipelines.training.positions import Batches, BatchSource, Position
from pipelines.training.trainer import make_loader, make_trainer
from pipelines.training.update import TrainingModule
from pipelines.watch.speed import TimedLoader, largest_product


class Twice:
    """The first batches of a source two times over: the second time nothing is compiled or set up.

    Args:
        source: position → batch.
        updates: as many are repeated.
    """

    def __init__(self, source: BatchSource, updates: int) -> None:
        self._source, self._updates = source, updates
        self.fingerprint = source.fingerprint

    def after(self, position: Position) -> Position:
        """The next position, or the first one after half of them."""
        following = self._source.after(position)
        halfway = following.update == self._updates
        return Position(following.update, 0, 0) if halfway else following

    def __call__(self, position: Position) -> Any:
        """The batch at a position."""
        return self._source(position)


def measure(
    module: TrainingModule, source: BatchSource, run: StageRun, *, updates: int
) -> Measured | None:
    """Train a little, on each batch twice, and throw it away.

    Args:
        module: as the stage made it.
        source: its batches.
        run: hardware and a folder to work in.
        updates: that are measured, and as many before.

    Returns:
        What was measured; None on ranks other than the first.
    """
    torch.set_num_threads(run.hardware.num_threads)
    again = Twice(source, updates)
    loader = make_loader(Batches(again, Position(0, 0, 0), 2 * updates), run.hardware)
    clock = _Clock(loader, updates=updates, compiled=run.hardware.compile)
    trainer = make_trainer(run, [clock], 2 * updates)
    module.updates = max(module.updates, 2 * updates)
    trainer.fit(module, loader)
    return clock.measured if trainer.is_global_zero else None


class _Clock(lightning.Callback):
    """Measures between two updates, and after the last one."""

    def __init__(self, loader: TimedLoader, *, updates: int, compiled: bool) -> None:
        self._loader, self._updates = loader, updates
        self._compiled = compiled
        self._costs: list[Any] = []
        self.measured: Measured | None = None

    def on_train_start(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        if self._compiled:
            pl_module.compile_step()

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: Any, outputs: Any, batch: Any, *_: Any
    ) -> None:
        if trainer.global_step == self._updates:
            _wait_for(pl_module.device)
            self._started, self._waited = time.perf_counter(), self._loader.waited_s
        elif trainer.global_step > self._updates:
            self._costs.append(pl_module.cost(batch))
        if trainer.global_step == 2 * self._updates:
            _wait_for(pl_module.device)
            seconds = (time.perf_counter() - self._started) / self._updates
            waited = (self._loader.waited_s - self._waited) / self._updates
            self.measured = self._conclude(trainer, pl_module, batch, seconds, waited)

    def _conclude(
        self, trainer: lightning.Trainer, module: Any, batch: Any, seconds: float, waited: float
    ) -> Measured:
        tokens, slots, flops = (
            statistics.mean(getattr(cost, name) for cost in self._costs)
            for name in ("tokens", "slots", "flops")
        )
        # The last batch stands for all of them, in relation to its size.
        scale = slots / max(1, self._costs[-1].slots)
        alone, queued = self._again(module, batch)
        dtype = torch.bfloat16 if module.params.precision == "bf16-mixed" else torch.float32
        on_gpu = module.device.type == "cuda"
        return Measured(
            seconds=seconds,
            waited=waited,
            alone=alone * scale,
            queued=queued * scale if on_gpu else None,
            larger=self._larger(module, batch, scale),
            exchanged=seconds - waited if trainer.world_size > 1 else None,
            tokens=tokens,
            slots=slots,
            computed=tokens if module.unpads() else slots,
            flops=flops,
            could=largest_product(module.device, dtype)[1],
            device=module.device.type,
            compiled=module.compiled,
            micro_batch_size=module.micro_batch_size,
        )

    def _larger(self, module: Any, batch: Any, scale: float) -> float | None:
        """Seconds of an update with twice the rows in a forward pass."""
        if not (rows := module.micro_batch_size) or len(module.micro_batches(batch)) < 2:
            return None
        module.micro_batch_size = 2 * rows
        try:
            return self._again(module, batch)[0] * scale
        except torch.OutOfMemoryError:
            return None
        finally:
            module.micro_batch_size = rows

    def _again(self, module: Any, batch: Any) -> tuple[float, float]:
        """Seconds of an update on one batch, and until Python had asked for it: of many in a row,
        for one that waits for the device at its end has nothing queued.
        """
        module.repeat(batch)
        _wait_for(module.device)
        started = time.perf_counter()
        for _ in range(self._updates):
            module.repeat(batch)
        queued = time.perf_counter() - started
        _wait_for(module.device)
        return (time.perf_counter() - started) / self._updates, queued / self._updates


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
