"""Section ``diagnosis``: which trained models are looked at, and how closely."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipelines.frame.params_problems import TRAINED
from pipelines.frame.params_reader import Name, Section


class Closely(Section):
    """How closely; costs grow with each.

    Attributes:
        rows: of a training batch, on which loss and curvature are measured.
        batches: as many more give gradient noise and squared gradients.
        eigenvalues: largest ones of the Hessian.
        lanczos_steps: of the density of its eigenvalues; products of each probe.
        points: on a line between two checkpoints, and on each side of the plane, or 0 for
            neither.
    """

    rows: int = Field(ge=1)
    batches: int = Field(ge=2)
    eigenvalues: int = Field(ge=1)
    lanczos_steps: int = Field(ge=2)
    points: int = Field(ge=0)

    @model_validator(mode="after")
    def _points_make_a_line(self) -> "Closely":
        if self.points in (1, 2):
            raise ValueError(f"points ({self.points}) must be 0, or at least 3")
        return self


class Diagnosed(Section):
    """One trained model.

    Attributes:
        section: what it was trained by: ``bert``, ``seq2seq.architectures.NAME`` or
            ``classification.tasks.NAME``.
        trained: its folder.
        data: what it was trained on: ``data/shards``, or the task's own folder.
        update: ``last``, or a snapshot of its training.
    """

    section: str = Field(pattern=TRAINED)
    trained: str = Field(pattern=r"^data/")
    data: str = Field(pattern=r"^data/")
    update: Literal["last"] | Annotated[int, Field(ge=1)]

    @property
    def training(self) -> tuple[str, str | None]:
        """Stage that trains it, and its item."""
        stage, *rest = self.section.split(".")
        return stage, rest[-1] if rest else None


class DiagnosisParams(Section):
    """The section."""

    common: Closely
    models: Annotated[dict[Name, Diagnosed], Field(min_length=1)]
