"""What every family's block in ``seq2seq.architectures`` holds; its own knobs stand in its file."""

from typing import Any

from pydantic import Field

from pipelines.frame.params_reader import Section


class ArchitectureParams(Section):
    """Base of every family's block.

    Attributes:
        family: file of ``pipelines/models``.
        layers: package of ``pipelines/nn`` the family is built of (a dependency in dvc.yaml).
        starts_from: ``data/shards`` for random weights, or the folder of a BERT in the Hugging Face
            format with this tokenizer's vocabulary, as ``data/bert``.
        learning_rate: peak.
        r_drop: weight α of R-Drop (Liang et al. 2021), two passes with different dropout that shall
            agree; 0 for one.
        scheduled_sampling: share of target inputs that are the model's own predictions at the last
            update, rising linearly from 0 (Bengio et al. 2015); predicted in one pass under teacher
            forcing (Mihaylova & Martins 2019).
    """

    family: Any
    layers: Any
    starts_from: str = Field(pattern=r"^data/")
    dropout: float = Field(ge=0, lt=1)
    learning_rate: float = Field(gt=0)
    r_drop: float = Field(ge=0)
    scheduled_sampling: float = Field(ge=0, le=1)
