"""The ``evaluation`` section."""

from pydantic import Field

from pipelines.sections import Section


class Comparison(Section):
    """Two architectures to hold against each other."""

    system: str
    baseline: str


class EvaluationParams(Section):
    """How translations are scored and compared.

    Attributes:
        lowercase: hypotheses and references are lower-cased first, as a lower-casing tokenizer needs it.
    """

    num_resamples: int = Field(ge=100)
    lowercase: bool
    comparisons: list[Comparison]
