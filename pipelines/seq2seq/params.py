"""The ``seq2seq`` section: what all architectures share. Each family's own knobs stand in its file."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from pipelines.optim.params import OptimizationParams
from pipelines.sections import Section


class CommonParams(OptimizationParams):
    """Training of every architecture.

    Attributes:
        training_pairs: as many of the training pairs, drawn at random; a larger number holds the smaller's. Or ``all``.
        batch_unit: what ``batch_size`` counts: pairs, or tokens of the longer side of each pair, padding included.
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
            raise ValueError(f"bleu_pairs ({self.bleu_pairs}) must be at least 1 where select_by is bleu; raise it")
        return self


class ArchitectureParams(Section):
    """Base of every family's block.

    Attributes:
        family: file of ``pipelines/seq2seq/models``.
        layers: package of ``pipelines/layers`` the family is built of (a dependency in dvc.yaml).
        starts_from: ``data/shards`` for random weights, or the folder of a BERT in the Hugging Face format with
            this tokenizer's vocabulary, as ``data/bert``.
        learning_rate: peak.
        r_drop: weight α of R-Drop (Liang et al. 2021), two passes with different dropout that shall agree; 0 for one.
        scheduled_sampling: share of target inputs that are the model's own predictions at the last update, rising
            linearly from 0 (Bengio et al. 2015); predicted in one pass under teacher forcing (Mihaylova & Martins
            2019).
    """

    family: Any
    layers: Any
    starts_from: str = Field(pattern=r"^data/")
    dropout: float = Field(ge=0, lt=1)
    learning_rate: float = Field(gt=0)
    r_drop: float = Field(ge=0)
    scheduled_sampling: float = Field(ge=0, le=1)
