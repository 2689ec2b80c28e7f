"""``seq2seq.common``: the training that all architectures share."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipelines.optim.params import OptimizationParams


class CommonParams(OptimizationParams):
    """Training of every architecture.

    Attributes:
        training_pairs: as many of the training pairs, drawn at random; a larger number holds the
            smaller's. Or ``all``.
        batch_unit: what ``batch_size`` counts: pairs, or tokens of the longer side of each pair,
            padding included.
        bleu_pairs: validation pairs that are decoded greedily for BLEU; 0 for none.
        select_by: what makes a validation better: the loss, or this BLEU.
    """

    updates: int = Field(ge=1)
    training_pairs: Annotated[int, Field(ge=1)] | Literal["all"]
    batch_size: int = Field(ge=1)
    batch_unit: Literal["pairs", "tokens"]
    bleu_pairs: int = Field(ge=0)
    bleu_max_length: int = Field(ge=1)
    select_by: Literal["loss", "bleu"]
    label_smoothing: float = Field(ge=0, lt=1)

    @model_validator(mode="after")
    def _bleu_is_measured(self) -> "CommonParams":
        if self.select_by == "bleu" and not self.bleu_pairs:
            raise ValueError(
                f"bleu_pairs ({self.bleu_pairs}) must be at least 1 where select_by is bleu; raise "
                "it"
            )
        return self
