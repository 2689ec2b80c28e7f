"""``length``: sentences that are too short or too long."""

from typing import Literal

from pydantic import Field, model_validator

from pipelines.corpus.filters.base import Filter
from pipelines.formats.text import num_words


class Length(Filter):
    """By characters and words; each letter is a word where a script writes no spaces
    (`num_words`).
    """

    name: Literal["length"]
    min_characters: int = Field(ge=0, examples=[1])
    max_characters: int = Field(ge=1, examples=[2000])
    min_words: int = Field(ge=0, examples=[1])
    max_words: int = Field(ge=1, examples=[200])

    @model_validator(mode="after")
    def _in_order(self) -> "Length":
        for unit in ("characters", "words"):
            least, most = getattr(self, f"min_{unit}"), getattr(self, f"max_{unit}")
            if least > most:
                raise ValueError(f"min_{unit} ({least}) must not exceed max_{unit} ({most})")
        return self

    def sentence(self, sentence: str, language: str) -> bool:
        """Outside the bounds."""
        if not self.min_characters <= len(sentence) <= self.max_characters:
            return True
        return not self.min_words <= num_words(sentence) <= self.max_words
