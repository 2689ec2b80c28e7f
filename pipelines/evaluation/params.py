"""The ``evaluation`` section."""

from pydantic import Field

from pipelines.sections import Section


class Comparison(Section):
    """Two architectures to hold against each other."""

    system: str
    baseline: str


class EvaluationParams(Section):
    """How scores are compared."""

    num_resamples: int = Field(ge=100)
    comparisons: list[Comparison]
