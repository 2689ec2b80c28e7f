"""The ``evaluation`` section."""

from pydantic import Field

from pipelines.sections import Section


class Comparison(Section):
    """Two architectures or ensembles to hold against each other."""

    system: str
    baseline: str


class EvaluationParams(Section):
    """How translations are scored and compared.

    Attributes:
        lowercase, strip_accents: done to hypotheses and references first, as a tokenizer that does so needs it.
    """

    num_resamples: int = Field(ge=100)
    lowercase: bool
    strip_accents: bool
    comparisons: list[Comparison]
