"""One update from top to bottom.

1. *Fetch*: Lightning's Trainer takes the next batch of `positions.Batches` from the loader and
   moves it to the device.
2. *Losses and backward*, micro-batch after micro-batch; ranks exchange gradients in the last one.
3. *Clip* the global norm of the gradients; frozen parameters have none.
4. *Step*: optimizer and schedule. An update that is not finite is remembered.
5. *Log* a point of the curves, every ``log_every`` updates.
6. *Validate*, every ``validate_every`` updates.
7. *Checkpoint or stop*, on whatever all ranks agree.

2 to 4 are the LightningModule's `TrainingModule.training_step`, 5 to 7 the callback `TrainingLoop`,
whose hook Lightning calls after it.

What of Lightning is switched off, and why. All but the first and the two of SIGTERM are arguments
in `pipelines/training/trainer.py`; those are private attributes, for no public way clears them:

| off | why |
|---|---|
| automatic optimization | sums over micro-batches and ranks have their own normaliser |
| its checkpoints | they are neither sealed nor written whole |
| its loggers, progress bar, summary | one file is the source of all curves |
| sanity validation | it would validate before the first update |
| distributed sampler | a batch is a function of its position, whatever the ranks |
| SLURM's re-queueing | the flow starts a stopped stage again |
| what its handler of SIGTERM saw | it dead-locks DDP and exits with 0 |
| its broadcast of that each update | every rank waits for it; ranks agree in their own exchange |
| DDP's broadcast of buffers | ours are alike, or each rank's own |
"""

import contextlib
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import lightning.pytorch as lightning
import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from pipelines.formats.randomness import stream_seed
from pipelines.frame.errors import CheckFailed, CheckpointError
from pipelines.frame.memory import release_freed_memory
from pipelines.frame.stage import StageRun
from pipelines.optim.params import OptimizationParams
from pipelines.training.checkpoints import Checkpoint, Checkpoints
from pipelines.training.looking import watched
from pipelines.training.memory import too_large
from pipelines.training.objective import Objective
from pipelines.training.positions import BatchSource, Position, save_position
from pipelines.training.selection import best, to_keep
from pipelines.training.sharing import Agreed, gathered
from pipelines.training.snapshots import FOLDER, save_snapshot
from pipelines.watch.learning import Learning
from pipelines.watch.training import Watch


class TrainingModule(Objective):
    """An `Objective` that learns.

    An update is the same whichever way its batch is cut, over ranks or into micro-batches: every
    sum is divided by the number of its terms in the whole batch, not by a part's.

    Attributes:
        not_finite_since: the first update whose loss or gradient was not finite; -1 for none. A
            tensor, so that no update waits for the device.
        wishes: asked at the beginning of each update, what this rank would have all ranks do
            after it.
        agreed: what all ranks say of the update at work.
        learning: watches, on the first rank; decides nothing.
    """

    not_finite_since: Tensor
    agreed: Agreed
    wishes: Callable[[], Sequence[bool]] = staticmethod(tuple)
    learning: Learning | None = None

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.automatic_optimization = False  # decision 0005
        self.register_buffer("not_finite_since", torch.tensor(-1), persistent=False)

    def training_step(self, batch: Any, batch_index: int) -> None:
        """Losses, backward, clip, step.

        Raises:
            AssertionError: the loader and the optimizer disagree about where the run stands.
            OutOfMemory: the device has no room for a micro-batch.
        """
        update = self.global_step
        assert batch.position.update == update, (batch.position, update)
        self.detailed = (update + 1) % self.params.log_every == 0 or update + 1 == self.updates
        optimizer: Any = self.optimizers()
        schedule: Any = self.lr_schedulers()

        totals = self._over_ranks(self.num_terms(batch))
        try:
            loss = self._backward(batch, totals)
        except torch.OutOfMemoryError:
            tried = self.micro_batch_size or sum(1 for _ in batch.split(1))
            raise too_large(tried, lambda rows: self._try(batch, rows), self.device) from None
        frozen = set(self.frozen(update))
        for name, parameter in self.network.named_parameters() if frozen else ():
            if name in frozen:
                parameter.grad = None

        norm = self._clip()

        with watched(self, batch, loss, norm):
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            schedule.step()

        broken = ~(torch.isfinite(loss) & torch.isfinite(norm)) & (self.not_finite_since < 0)
        self.not_finite_since = torch.where(broken, update, self.not_finite_since)

    def _backward(self, batch: Any, totals: Mapping[str, Tensor | int]) -> Tensor:
        """Gradients of all micro-batches (gradient accumulation); the loss of this rank's part."""
        parts = self.micro_batches(batch)
        whole = torch.zeros((), device=self.device)
        for number, part in enumerate(parts, start=1):
            torch.manual_seed(
                stream_seed(self.seed, "forward pass", self.global_step, number, self.global_rank)
            )
            with self._without_exchange() if number < len(parts) else contextlib.nullcontext():
                with self.autocast():
                    losses = self.losses(part)
                loss = torch.stack(
                    [total / totals[name] for name, total in losses.objective.items()]
                ).sum()
                # DDP takes the mean over ranks
                self.manual_backward(loss * self.trainer.world_size)
            self.meter.add(losses.measured)
            whole += loss.detach()
            if number == 1 < len(parts) and self._looks():
                assert self.learning is not None
                self.learning.first_part(list(self.network.parameters()))
        return whole

    def _looks(self) -> bool:
        return self.learning is not None and self.learning.looks(self.global_step + 1)

    def _try(self, batch: Any, rows: int) -> None:
        """Forward and backward of so many rows, for their memory alone."""
        self.compiled = False  # each number of rows would be compiled anew
        self.zero_grad(set_to_none=True)
        with self._without_exchange(), self.autocast():
            losses = self.losses(next(iter(batch.split(rows))))
            loss: Any = torch.stack(list(losses.objective.values())).sum()
            loss.backward()

    def repeat(self, batch: Any) -> None:
        """The work of an update, wherever it stands and without other ranks: to be timed."""
        with self._without_exchange():
            self._backward(batch, dict.fromkeys(self.num_terms(batch), 1))
        self._clip()
        optimizer: Any = self.optimizers(use_pl_optimizer=False)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    def _over_ranks(self, counts: Mapping[str, int]) -> dict[str, Tensor | int]:
        """Terms in the whole batch; at least 1, for a rank without any.

        The update's only exchange beside its gradients' takes the ranks' wishes along.
        """
        self.agreed = Agreed([*counts.values()], self.wishes(), self.device)
        return dict(zip(counts, self.agreed.totals, strict=True))

    def _without_exchange(self) -> contextlib.AbstractContextManager[None]:
        wrapper = self.trainer.strategy.model
        if isinstance(wrapper, DistributedDataParallel):
            return wrapper.no_sync()
        return contextlib.nullcontext()

    def _clip(self) -> Tensor:
        """Clip the global norm, and keep it for the curves; layer by layer where a point is due."""
        named = [
            (name, parameter)
            for name, parameter in self.network.named_parameters()
            if parameter.grad is not None
        ]
        norms = torch._foreach_norm(
            [parameter.grad for _, parameter in named if parameter.grad is not None]
        )
        whole = torch.stack(norms).norm()
        if self.params.gradient_clip != "none":
            torch.nn.utils.clip_grads_with_norm_(
                (p for _, p in named), self.params.gradient_clip, whole
            )
        self.meter.add({"gradient_norm": (whole, 1)})
        if self.detailed:
            layers: dict[str, list[Tensor]] = {}
            for (name, _), norm in zip(named, norms, strict=True):
                layers.setdefault(layer_of(name), []).append(norm)
            self.meter.add(
                {
                    f"gradient_norm/{name}": (torch.stack(part).norm(), 1)
                    for name, part in layers.items()
                }
            )
        return whole


def layer_of(parameter: str) -> str:
    """``blocks.3.attention.query.weight`` → ``blocks.3``;
    ``embeddings.token.weight`` → ``embeddings``.
    """
    match = re.match(r"(?:\w+\.)*?\w+\.\d+(?=\.)", parameter)
    return match.group() if match else parameter.split(".", maxsplit=1)[0]


class TrainingLoop(lightning.Callback):
    """What happens after each update of one training: see the head of this file.

    Args:
        run: the stage at work.
        checkpoints: where they go.
        source: the data, whose position is saved.
        watch: what shows it.
        found: the checkpoint the run goes on from.
        machine: what computes, for the checkpoints.

    Attributes:
        validations: {update, value} of those whose checkpoints stay.
        finished: no update is to come.
        measured: averages of the last validation.
    """

    def __init__(
        self,
        run: StageRun,
        checkpoints: Checkpoints,
        source: BatchSource,
        watch: Watch,
        found: Checkpoint | None,
        machine: str,
    ) -> None:
        self._run, self._source, self._watch = run, source, watch
        self._checkpoints, self._machine = checkpoints, machine
        self.validations: list[dict[str, Any]] = list(found.seal["kept"]) if found else []
        self.finished = bool(found and found.seal["finished"])
        self.measured: dict[str, float] = {}
        self._unchecked: list[Position] = []
        self._saved_at = time.monotonic()

    def on_train_start(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Take the signals back: Lightning's own SIGTERM handler dead-locks DDP
        and ends with exit code 0.

        A SIGTERM it saw while setting up stands in our own flag too.

        Raises:
            CheckpointError: ranks go on from different ones.
        """
        if len(set(starts := gathered([(trainer.global_rank, trainer.global_step)]))) > 1:
            raise CheckpointError(
                f"{self._run.folder.checkpoints}: all ranks must go on from one checkpoint, not "
                f"after updates {starts}; let all machines see one folder, and start again"
            )
        self._run.stop.install()
        pl_module.wishes = self._wishes
        if self._run.hardware.compile:
            pl_module.compile_step()
        trainer._signal_connector.received_sigterm = False
        trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = (  # type: ignore[method-assign]
            lambda: None
        )
        dtype = torch.bfloat16 if pl_module.params.precision == "bf16-mixed" else torch.float32
        self._watch.start(
            pl_module.device, dtype, world_size=trainer.world_size, shown=trainer.is_global_zero
        )
        self._saved_at = time.monotonic()

    def on_train_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Leave a clean terminal."""
        self._watch.close()

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: Any, outputs: Any, batch: Any, *_: Any
    ) -> None:
        """Log, validate, checkpoint or stop, in the order of the file's head."""
        update, params = trainer.global_step, pl_module.params
        last, wanted = update == pl_module.updates, False
        self._watch.add(pl_module.cost(batch))
        self._unchecked.append(batch.position)
        if update % params.log_every == 0 or last:
            self._log(trainer, pl_module)
        if update in params.snapshots and trainer.is_global_zero:
            folder = self._run.folder.checkpoints / FOLDER
            save_snapshot(pl_module.network, trainer.optimizers[0], folder, update)
        if update % params.validate_every == 0 or last:
            wanted = self._validate(trainer, pl_module)
        self.finished = last or self._out_of_patience(update, params)
        stop, late = pl_module.agreed.wishes if trainer.world_size > 1 else self._wishes()
        due = late or update % self._run.hardware.checkpoint_every == 0
        if stop or self.finished or due or wanted:
            self._checkpoint(trainer, pl_module, batch.position)
        if (stop or self.finished) and not last:
            trainer.should_stop = True

    def _checkpoint(
        self, trainer: lightning.Trainer, module: TrainingModule, done: Position
    ) -> None:
        """Save what the next start goes on from; a model that is not finite is never saved."""
        self._check_finite(module)
        if module.learning:
            module.learning.flush()
        self._run.metrics.sync()
        self._run.samples.sync()
        state = {
            "position": save_position(self._source, self._source.after(done)),
            "kept": self.validations,
            "finished": self.finished,
            "machine": self._machine,
        }
        self._checkpoints.save(trainer, state)
        self._saved_at = time.monotonic()

    def _out_of_patience(self, update: int, params: OptimizationParams) -> bool:
        """Whether enough validations have passed without a better one; judged at them alone."""
        if params.patience == "none" or update % params.validate_every or not self.validations:
            return False
        return update - best(self.validations)["update"] >= params.patience * params.validate_every

    def _wishes(self) -> tuple[bool, bool]:
        """To stop, and to save a checkpoint for the time that has gone by."""
        minutes = (time.monotonic() - self._saved_at) / 60
        return self._run.stop.requested, minutes >= self._run.hardware.checkpoint_minutes

    def _check_finite(self, module: TrainingModule) -> None:
        broken = int(module.not_finite_since)
        if broken < 0:
            self._unchecked.clear()
            return
        if module.learning:
            module.learning.flush()  # what it foresaw, and how it broke
        position = next(position for position in self._unchecked if position.update == broken)
        end = self._source.after(position)
        samples = f"from {position.samples}" + (
            f" to {end.samples - 1}" if end.epoch == position.epoch else " on"
        )
        raise CheckFailed(
            f"training: loss and gradient must be finite; update {broken + 1}, on samples "
            f"{samples} of epoch {position.epoch}, broke it. The last checkpoint is kept; lower "
            "the learning rate or raise warmup_updates"
        )

    def _log(self, trainer: lightning.Trainer, module: TrainingModule) -> None:
        self._check_finite(module)
        averages, timings = module.meter.read(), self._watch.read(module.device)
        if not trainer.is_global_zero:
            return
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        self._run.log(trainer.global_step, {**averages, "learning_rate": rate}, timings)
        self._watch.show(trainer.global_step, averages, timings)

    def _validate(self, trainer: lightning.Trainer, module: TrainingModule) -> bool:
        """Measure; whether these weights are wanted, as far as is known by now."""
        params, update = module.params, trainer.global_step
        averages = self.measured = module.validate()
        release_freed_memory()
        this = {"update": update, "value": module.validation_rank(averages)}
        self.validations = to_keep([*self.validations, this], params)
        among_the_last = module.updates - update < params.average * params.validate_every
        wanted = this == best(self.validations) or params.select == "best" or among_the_last
        if trainer.is_global_zero:
            self._run.log(update, averages)
            if samples := module.samples():
                self._run.log_samples(update, samples)
            self._watch.show(update, averages)
            for warning in module.warnings(update, averages):
                self._watch.warn(warning)
        self._watch.pause()
        return wanted and this in self.validations
