"""Section ``evaluation``: which metrics, of which words, and which systems are compared."""

from typing import Literal

from pydantic import Field

from pipelines.frame.params_reader import Section

BleuTokenizer = Literal["13a", "intl", "zh", "ja-mecab", "ko-mecab", "char", "none", "flores200"]


class Comparison(Section):
    """Two architectures or ensembles to hold against each other."""

    system: str
    baseline: str


class EvaluationParams(Section):
    """How translations are scored and compared.

    Attributes:
        bleu_tokenizer: how BLEU (and TER) split words, sacrebleu's names; ``auto``: by the target
            language's code.
        also: metrics beside BLEU, chrF and exact match.
        lowercase, strip_accents: done to hypotheses and references first, as a tokenizer that does
            so needs it.
        length_groups: parts of the test set, by length of the source, that are scored apart.
    """

    bleu_tokenizer: BleuTokenizer | Literal["auto"]
    also: list[Literal["ter", "rouge"]]
    num_resamples: int = Field(ge=100)
    lowercase: bool
    strip_accents: bool
    length_groups: int = Field(ge=1)
    comparisons: list[Comparison]
