"""The LightningModule all training stages share: a network, its losses, one optimizer."""

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any

import lightning.pytorch as lightning
import torch
from lightning.fabric.utilities.apply_func import move_data_to_device
from torch import Tensor, nn

from pipelines.optim.optimizers import adamw
from pipelines.optim.params import OptimizationParams
from pipelines.training.meter import Meter


class TrainingModule(lightning.LightningModule):
    """Steps and logs; subclasses say what the loss of a batch is.

    Args:
        network: the model; only it knows shapes.
        params: how it is optimized.
        learning_rate: peak of the schedule.
        validation_batches: fixed batches, gone through every ``validate_every`` updates.
    """

    def __init__(
        self, network: nn.Module, params: OptimizationParams, *, learning_rate: float, validation_batches: Iterable[Any]
    ) -> None:
        super().__init__()
        self.network = network
        self.params = params
        self.learning_rate = learning_rate
        self.validation_batches = validation_batches
        self.meter = Meter()
        self.num_tokens = 0

    @abstractmethod
    def losses(self, batch: Any) -> tuple[Tensor, Mapping[str, tuple[Tensor, Tensor | int]]]:
        """The loss to minimise, and (sum, weight) of every quantity worth a curve."""

    def training_step(self, batch: Any, batch_index: int) -> Tensor:
        """One update's loss.

        Raises:
            AssertionError: the loader and the optimizer disagree about where the run stands.
        """
        assert batch.update == self.global_step, (batch.update, self.global_step)
        loss, measured = self.losses(batch)
        self.meter.add(measured)
        self.num_tokens += batch.num_tokens
        return loss

    def configure_gradient_clipping(self, optimizer: Any, *_: Any, **__: Any) -> None:
        """Clip the global norm, and keep it for the curves.

        Here and not by Lightning, which refuses a fused optimizer under bf16 although nothing is scaled there.
        """
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.params.gradient_clip)
        self.meter.add({"gradient_norm": (norm, 1)})

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Averages over the validation batches, names prefixed with ``valid_``; every rank measures all of them."""
        meter, training = Meter(), self.network.training
        self.network.eval()
        autocast = torch.autocast(self.device.type, torch.bfloat16, enabled=self.params.precision == "bf16-mixed")
        with autocast:
            for batch in self.validation_batches:
                meter.add(self.losses(move_data_to_device(batch, self.device))[1])
        self.network.train(training)
        return {f"valid_{name}": value for name, value in meter.read(over_ranks=False).items()}

    def configure_optimizers(self) -> Any:
        """AdamW and its schedule, stepped at every update."""
        optimizer, scheduler = adamw(self.network, self.params, self.learning_rate)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
