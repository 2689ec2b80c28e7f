"""The ``bert`` section."""

from typing import Literal

from pydantic import Field, model_validator

from pipelines.frame.params_reader import Section
from pipelines.nn.transformer.params import BertModelParams
from pipelines.optim.params import OptimizationParams


class SegmentParams(Section):
    """How documents become rows.

    Attributes:
        nsp: what B is: it follows A or not (``random``), is in order or not (``sop``), or absent.
        short_rate: share of documents whose pairs aim at a random shorter length.
        packed: several pairs may share a row.
    """

    nsp: Literal["random", "sop", "none"]
    short_rate: float = Field(ge=0, le=1)
    packed: bool


class MaskingParams(Section):
    """Which tokens are to be predicted."""

    rate: float = Field(gt=0, lt=1)
    evaluation_rate: float = Field(gt=0, lt=1)
    whole_words: bool


class Ramp(Section):
    """A batch that grows on a line."""

    from_batch_size: int = Field(ge=1)
    updates: int = Field(ge=1)


class Phase(Section):
    """A stretch of the training with one length of input."""

    updates: int = Field(ge=1)
    batch_size: int | Literal["full"]
    ramp: Ramp | Literal["none"]
    max_length: int = Field(ge=8)
    max_predictions: int = Field(ge=1)

    @model_validator(mode="after")
    def _consistent(self) -> "Phase":
        if self.batch_size != "full" and self.batch_size < 1:
            raise ValueError(f"batch_size ({self.batch_size}) must be at least 1, or full")
        if self.ramp != "none" and (
            self.batch_size == "full" or self.ramp.from_batch_size > self.batch_size
        ):
            raise ValueError(
                f"ramp.from_batch_size ({self.ramp.from_batch_size}) must not exceed batch_size"
            )
        return self


class BertTrainingParams(OptimizationParams):
    """The optimization, and the peak of the learning rate."""

    learning_rate: float = Field(gt=0)


class BertParams(Section):
    """Section ``bert``: network, segments, masks, phases, optimization."""

    starts_from: str
    model: BertModelParams
    segments: SegmentParams
    masking: MaskingParams
    phases: list[Phase] = Field(min_length=1)
    training: BertTrainingParams

    @model_validator(mode="after")
    def _fits_positions(self) -> "BertParams":
        for number, phase in enumerate(self.phases):
            if phase.max_length > self.model.max_positions:
                raise ValueError(
                    f"phases[{number}].max_length ({phase.max_length}) must not exceed "
                    f"model.max_positions ({self.model.max_positions})"
                )
        return self

    @property
    def updates(self) -> int:
        """Updates of all phases together."""
        return sum(phase.updates for phase in self.phases)
