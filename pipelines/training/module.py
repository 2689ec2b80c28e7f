"""The LightningModule all training stages share: a network, its losses, one optimizer."""

import contextlib
import math
import re
from abc import abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import lightning.pytorch as lightning
import torch
from lightning.fabric.utilities.apply_func import move_data_to_device
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.lr_scheduler import LambdaLR

from pipelines.formats.randomness import stream_seed
from pipelines.optim.optimizers import build_optimizer
from pipelines.optim.params import OptimizationParams
from pipelines.optim.schedules import factor
from pipelines.training.meter import Meter
from pipelines.watch.speed import Cost


@dataclass(frozen=True)
class Losses:
    """What a batch costs.

    Attributes:
        objective: name → sum over its terms; the loss is the sum of the means.
        measured: name → (sum, weight) of every quantity worth a curve.
    """

    objective: Mapping[str, Tensor]
    measured: Mapping[str, tuple[Tensor, Tensor | int]]


class TrainingModule(lightning.LightningModule):
    """Steps and logs; subclasses say what the losses of a batch are.

    An update is the same whichever way its batch is cut, over ranks or into micro-batches: every sum is divided
    by the number of its terms in the whole batch, not by a part's.

    Args:
        network: the model; only it knows shapes.
        params: how it is optimized.
        learning_rate: peak of the schedule.
        updates: length of the schedule.
        validation_batches: fixed batches, gone through every ``validate_every`` updates.
        micro_batch_size: rows per forward pass; 0 takes a rank's part of the batch at once.
        seed: of dropout, whose random stream begins anew in each forward pass, at (seed, update, micro-batch, rank): no
            rank drops what another does, and a resume needs no saved state.
    """

    def __init__(
        self,
        network: nn.Module,
        params: OptimizationParams,
        *,
        learning_rate: float,
        updates: int,
        validation_batches: Iterable[Any],
        micro_batch_size: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.network = network
        self.params = params
        self.learning_rate = learning_rate
        self.updates = updates
        self.validation_batches = validation_batches
        self.micro_batch_size = micro_batch_size
        self.seed = seed
        self.meter = Meter()
        self.register_buffer("not_finite_since", torch.tensor(-1), persistent=False)

    not_finite_since: Tensor
    detailed = False  # a point of the curves is due after this update
    objectives: tuple[str, ...]  # names of the sums that are minimised
    perplexity: tuple[str, str] | None = None  # its name, and the measurement it is the exponential of
    rate_factors: Mapping[str, float] = {}

    def frozen(self, update: int) -> Collection[str]:
        """Parameters of the network that stand still in an update."""
        return ()

    @abstractmethod
    def num_terms(self, batch: Any) -> Mapping[str, int]:
        """Objective → terms in its sum."""

    @abstractmethod
    def losses(self, batch: Any) -> Losses:
        """Objectives and measurements of a batch or micro-batch."""

    @abstractmethod
    def cost(self, batch: Any) -> Cost:
        """Of a training step on the batch."""

    def validation_rank(self, measured: Mapping[str, float]) -> list[float]:
        """What decides which validation was the best: the lowest number, where those are equal the next.

        Here the sum of the objectives' plain means.
        """
        return [sum(measured[f"valid_{name}"] for name in self.objectives)]

    def samples(self) -> Sequence[Mapping[str, str]]:
        """A few answers of the last validation, for eyes."""
        return ()

    def warnings(self, update: int, measured: Mapping[str, float]) -> Iterable[str]:
        """What a validation gives cause to say."""
        return ()

    def training_step(self, batch: Any, batch_index: int) -> None:
        """One update.

        Raises:
            AssertionError: the loader and the optimizer disagree about where the run stands.
        """
        update = self.global_step
        self.detailed = (update + 1) % self.params.log_every == 0 or update + 1 == self.updates
        assert batch.position.update == update, (batch.position, update)
        optimizer: Any = self.optimizers()
        schedule: Any = self.lr_schedulers()
        totals = self._over_ranks(self.num_terms(batch))
        loss = self._accumulate(batch, totals)
        if frozen := set(self.frozen(update)):
            for name, parameter in self.network.named_parameters():
                parameter.grad = None if name in frozen else parameter.grad
        norm = self._clip()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        schedule.step()
        broken = ~(torch.isfinite(loss) & torch.isfinite(norm)) & (self.not_finite_since < 0)
        self.not_finite_since = torch.where(broken, update, self.not_finite_since)

    def _accumulate(self, batch: Any, totals: Mapping[str, Tensor]) -> Tensor:
        """Backward passes of all micro-batches; ranks exchange gradients in the last one only."""
        parts = self._parts(batch)
        whole = torch.zeros((), device=self.device)
        for number, part in enumerate(parts, start=1):
            torch.manual_seed(stream_seed(self.seed, "forward pass", self.global_step, number, self.global_rank))
            with self._without_exchange() if number < len(parts) else contextlib.nullcontext():
                with self._autocast():
                    losses = self.losses(part)
                loss = torch.stack([total / totals[name] for name, total in losses.objective.items()]).sum()
                self.manual_backward(loss * self.trainer.world_size)  # DDP takes the mean over ranks
            self.meter.add(losses.measured)
            whole += loss.detach()
        return whole

    def _parts(self, batch: Any) -> list[Any]:
        return list(batch.split(self.micro_batch_size)) if self.micro_batch_size else [batch]

    def _over_ranks(self, counts: Mapping[str, int]) -> dict[str, Tensor]:
        """Terms in the whole batch; at least 1, for a rank without any."""
        total = torch.tensor(list(counts.values()), dtype=torch.float32, device=self.device)
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(total)
        return dict(zip(counts, total.clamp(min=1).unbind(), strict=True))

    def _without_exchange(self) -> contextlib.AbstractContextManager[None]:
        wrapper = self.trainer.strategy.model
        return wrapper.no_sync() if isinstance(wrapper, DistributedDataParallel) else contextlib.nullcontext()

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.params.precision == "bf16-mixed")

    def _clip(self) -> Tensor:
        """Clip the global norm, and keep it for the curves; layer by layer where a point is due."""
        named = [(name, parameter) for name, parameter in self.network.named_parameters() if parameter.grad is not None]
        norms = torch._foreach_norm([parameter.grad for _, parameter in named if parameter.grad is not None])
        whole = torch.stack(norms).norm()
        if self.params.gradient_clip != "none":
            torch.nn.utils.clip_grads_with_norm_((p for _, p in named), self.params.gradient_clip, whole)
        self.meter.add({"gradient_norm": (whole, 1)})
        if self.detailed:
            layers: dict[str, list[Tensor]] = {}
            for (name, _), norm in zip(named, norms, strict=True):
                layers.setdefault(layer_of(name), []).append(norm)
            self.meter.add({f"gradient_norm/{name}": (torch.stack(part).norm(), 1) for name, part in layers.items()})
        return whole

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Averages over the validation batches, names prefixed with ``valid_``; every rank measures all of them."""
        meter, training = Meter(), self.network.training
        self.network.eval()
        with self._autocast():
            for batch in self.validation_batches:
                for part in self._parts(batch):
                    meter.add(self.losses(move_data_to_device(part, self.device)).measured)
        self.network.train(training)
        averages = meter.read(over_ranks=False)
        if self.perplexity:
            name, likelihood = self.perplexity
            averages[name] = math.exp(min(averages[likelihood], 700.0))  # e^709 is the largest float
        return {f"valid_{name}": value for name, value in averages.items()}

    def configure_optimizers(self) -> Any:
        """The optimizer and its schedule, stepped at every update."""
        optimizer = build_optimizer(self.network, self.params.optimizer, self.learning_rate, self.rate_factors)
        scheduler = LambdaLR(optimizer, lambda update: factor(self.params.schedule, update, total=self.updates))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def layer_of(parameter: str) -> str:
    """``blocks.3.attention.query.weight`` → ``blocks.3``; ``embeddings.token.weight`` → ``embeddings``."""
    match = re.match(r"(?:\w+\.)*?\w+\.\d+(?=\.)", parameter)
    return match.group() if match else parameter.split(".", maxsplit=1)[0]
