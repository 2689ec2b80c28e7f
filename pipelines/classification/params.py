"""The ``classification`` section: what all tasks share, and one block per task."""

from typing import Literal

from pydantic import Field

from pipelines.frame.params_reader import Name, Section
from pipelines.optim.params import OptimizationParams


class ClassificationCommon(OptimizationParams):
    """Training that all tasks share; ``max_length`` in tokens, special ones included."""

    updates: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    max_length: int = Field(ge=8)
    dropout: float = Field(ge=0, lt=1)


class TaskParams(Section):
    """One task.

    Attributes:
        kind: ``tsv``, or ``word_order``, which is made from any corpus (see `word_order`).
        data: folder of the TSV files, or ``data/corpus``.
        starts_from: folder of a BERT of the sizes of ``bert.model``; ``data/shards`` for random
            weights.
        learning_rate: peak.
    """

    kind: Literal["tsv", "word_order"]
    data: str
    starts_from: str
    learning_rate: float = Field(gt=0)


class ClassificationParams(Section):
    """The whole section; without tasks the stage does not exist."""

    common: ClassificationCommon
    tasks: dict[Name, TaskParams]
