"""Knobs of optimization that every trained stage has."""

from typing import Literal

from pydantic import Field

from pipelines.sections import Section


class OptimizationParams(Section):
    """How weights are updated, apart from the learning rate."""

    weight_decay: float = Field(ge=0)
    beta2: float = Field(gt=0, lt=1)
    gradient_clip: float = Field(gt=0)
    warmup_updates: int = Field(ge=0)
    schedule: Literal["constant", "linear", "inverse_square_root"]
    updates: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    precision: Literal["32-true", "bf16-mixed"]
    validate_every: int = Field(ge=1)
    log_every: int = Field(ge=1)
