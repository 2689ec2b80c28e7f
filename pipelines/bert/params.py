"""The ``bert`` section."""

from pydantic import Field, model_validator

from pipelines.layers.transformer.params import TransformerShape
from pipelines.optim.params import OptimizationParams
from pipelines.sections import Section


class BertModelParams(TransformerShape):
    """Shape of the network."""

    num_layers: int = Field(ge=1)
    initializer_range: float = Field(gt=0)


class SegmentParams(Section):
    """How documents become pairs of segments."""

    min_sentences: int = Field(ge=1)
    max_sentences: int = Field(ge=1)
    max_length: int = Field(ge=8)

    @model_validator(mode="after")
    def _ordered(self) -> "SegmentParams":
        if self.min_sentences > self.max_sentences:
            raise ValueError(
                f"min_sentences ({self.min_sentences}) must not exceed max_sentences ({self.max_sentences})"
            )
        return self


class MaskingParams(Section):
    """Which tokens are to be predicted."""

    rate: float = Field(gt=0, lt=1)
    max_predictions: int = Field(ge=1)


class BertTrainingParams(OptimizationParams):
    """How long and how fast."""

    learning_rate: float = Field(gt=0)


class BertParams(Section):
    """The whole section."""

    model: BertModelParams
    segments: SegmentParams
    masking: MaskingParams
    training: BertTrainingParams

    @model_validator(mode="after")
    def _fits_positions(self) -> "BertParams":
        if self.segments.max_length > self.model.max_positions:
            raise ValueError(
                f"segments.max_length ({self.segments.max_length}) must not exceed model.max_positions "
                f"({self.model.max_positions})"
            )
        return self
