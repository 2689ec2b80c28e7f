"""What a training learns: a network, the losses of a batch,
one optimizer. How an update goes stands in `update`.
"""

import math
import re
from abc import abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import lightning.pytorch as lightning
import torch
from lightning_utilities.core.apply_func import apply_to_collection
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from pipelines.nn.cuda.attention import serves
from pipelines.optim.optimizers import build_optimizer
from pipelines.optim.params import OptimizationParams
from pipelines.optim.schedules import factor
from pipelines.training.compiling import compiled
from pipelines.training.meter import Meter
from pipelines.training.sharing import averages, gathered, my_share, numbers, sent
from pipelines.watch.speed import Cost


@dataclass(frozen=True)
class Losses:
    """The losses of a batch.

    Attributes:
        objective: name → sum over its terms; the loss is the sum of the means.
        measured: name → (sum, weight) of every quantity worth a curve.
    """

    objective: Mapping[str, Tensor]
    measured: Mapping[str, tuple[Tensor, Tensor | int]]


class Objective(lightning.LightningModule):
    """The part of a LightningModule that stages define:
    subclasses say what the losses of a batch are.

    Args:
        network: the model; only it knows shapes.
        params: how it is optimized.
        learning_rate: peak of the schedule.
        updates: length of the schedule.
        validation_batches: fixed batches, which the ranks share every ``validate_every`` updates.
        micro_batch_size: rows per forward pass; 0 takes a rank's part of the batch at once.
        seed: of dropout, whose random stream begins anew in each forward pass, at (seed, update,
            micro-batch, rank): no rank drops what another does, and a resume needs no saved state.

    Attributes:
        objectives: names of the sums that are minimised.
        perplexity: its name, and the measurement it is the exponential of; None for none.
        rate_factors: parameter of the network → factor of its learning rate, where it is not 1.
        detailed: a point of the curves is due after this update.
        sums: network and inputs of a micro-batch → sums of its losses, as one function, which can
            be compiled as a whole. Its inputs say by ``rounded`` whether their sizes are among the
            few that are compiled.
        compiled: it is.
    """

    objectives: tuple[str, ...]
    perplexity: tuple[str, str] | None = None
    rate_factors: Mapping[str, float] = {}
    detailed = False
    sums: Callable[..., Any]
    compiled = False

    def __init__(
        self,
        network: nn.Module,
        params: OptimizationParams,
        *,
        learning_rate: float,
        updates: int,
        validation_batches: Sequence[Any],
        micro_batch_size: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.network = network
        self.params = params
        self.learning_rate = learning_rate
        self.updates = updates
        self.validation_batches = validation_batches
        self.micro_batch_size = micro_batch_size
        self.seed = seed
        self.meter = Meter()

    def frozen(self, update: int) -> Collection[str]:
        """Names of the network's parameters that stand still in an update."""
        return ()

    @abstractmethod
    def num_terms(self, batch: Any) -> Mapping[str, int]:
        """Objective → terms in its sum."""

    @abstractmethod
    def losses(self, batch: Any) -> Losses:
        """Run the network on a batch or micro-batch.

        Sums, not means: an update divides by `num_terms` of the whole batch.
        """

    @abstractmethod
    def cost(self, batch: Any) -> Cost:
        """What a training step on the batch takes: tokens, padded slots,
        floating-point operations.
        """

    def validation_rank(self, measured: Mapping[str, float]) -> list[float]:
        """What decides which validation was the best: the lowest number,
        where those are equal the next.

        Here the sum of the objectives' plain means.
        """
        return [sum(measured[f"valid_{name}"] for name in self.objectives)]

    def samples(self) -> Sequence[Mapping[str, str]]:
        """A few answers of the last validation, for eyes."""
        return ()

    def warnings(self, update: int, measured: Mapping[str, float]) -> Iterable[str]:
        """What a validation gives cause to tell the user."""
        return ()

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Averages over the validation batches, names prefixed with ``valid_``.

        The ranks share the batches; the averages are the same for any number of ranks.
        """
        places, measured, training = [], [], self.network.training
        self.network.eval()
        with self.autocast():
            for number in my_share(len(self.validation_batches)):
                for part in self.micro_batches(self.validation_batches[number]):
                    moved = apply_to_collection(part, Tensor, sent, self.device)
                    places.append(number)
                    measured.append(self.losses(moved).measured)
        self.network.train(training)
        mine = list(zip(places, numbers(measured), strict=True))
        found = averages(gathered(mine))
        if self.perplexity:
            name, likelihood = self.perplexity
            # e^709 is the largest float there is.
            found[name] = math.exp(min(found[likelihood], 700.0))
        return {f"valid_{name}": value for name, value in found.items()}

    def micro_batches(self, batch: Any) -> list[Any]:
        """The batch in parts of ``micro_batch_size`` rows, or whole."""
        return list(batch.split(self.micro_batch_size)) if self.micro_batch_size else [batch]

    def compile_step(self) -> None:
        """Compile forward and backward of `sums`, for a few sizes of batches
        (`pipelines.training.unpadding`); or the repeated blocks, whose code is one and the same.
        """
        if not self.compiles_whole():
            for name, part in self.network.named_modules():
                if re.fullmatch(r"(.+\.)?blocks\.\d+", name):
                    part.compile()
            return
        self.compiled = True
        self._compiled_sums = compiled(self.sums)

    def compiles_whole(self) -> bool:
        """Whether batches have few enough sizes for `sums` to be compiled as a whole."""
        return False

    def sums_of(self, *tensors: Any) -> Any:
        """What `sums` says of a micro-batch; compiled in training alone and where sizes are rounded
        up, for others are met once.
        """
        learns = self.compiled and self.network.training
        whole = learns and getattr(tensors[0], "rounded", False)
        return (self._compiled_sums if whole else self.sums)(self.network, *tensors)

    def unpads(self) -> bool:
        """Whether rows are laid one after the other without padding: where a kernel attends within
        sequences, on a GPU in bfloat16.
        """
        if self.params.precision != "bf16-mixed" or self.device.type == "cpu":
            return False
        widths = {getattr(part, "head_width", 8) for part in self.network.modules()}
        return serves(self.device, widths)

    def autocast(self) -> torch.autocast:
        """bfloat16 products, where ``precision`` asks for them."""
        return torch.autocast(
            self.device.type, torch.bfloat16, enabled=self.params.precision == "bf16-mixed"
        )

    def configure_optimizers(self) -> Any:
        """The optimizer and its schedule, stepped at every update."""
        optimizer = build_optimizer(
            self.network, self.params.optimizer, self.learning_rate, self.rate_factors
        )
        scheduler = LambdaLR(
            optimizer, lambda update: factor(self.params.schedule, update, total=self.updates)
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }
