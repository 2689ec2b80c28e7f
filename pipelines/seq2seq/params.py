"""The ``seq2seq`` section: what all architectures share. Each family's own knobs stand in its file."""

from typing import Any

from pydantic import Field

from pipelines.optim.params import OptimizationParams
from pipelines.sections import Section


class CommonParams(OptimizationParams):
    """Training of every architecture."""

    updates: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    label_smoothing: float = Field(ge=0, lt=1)


class ArchitectureParams(Section):
    """Base of every family's block.

    Attributes:
        family: file of ``pipelines/seq2seq/models``.
        layers: package of ``pipelines/layers`` the family is built of (a dependency in dvc.yaml).
        starts_from: ``data/shards`` for random weights, or the folder of a BERT in the Hugging Face format with
            this tokenizer's vocabulary, as ``data/bert``.
        learning_rate: peak.
    """

    family: Any
    layers: Any
    starts_from: str = Field(pattern=r"^data/")
    dropout: float = Field(ge=0, lt=1)
    learning_rate: float = Field(gt=0)
