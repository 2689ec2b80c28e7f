"""The ``seq2seq`` section: what all architectures share. Each family's own knobs stand in its file."""

from typing import Any, Literal

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
        starts_from: ``data/bert`` for a pretrained start, ``data/shards`` for random weights.
        learning_rate: peak.
    """

    family: Any
    layers: Any
    starts_from: Literal["data/bert", "data/shards"]
    dropout: float = Field(ge=0, lt=1)
    learning_rate: float = Field(gt=0)
