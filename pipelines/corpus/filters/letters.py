"""``letters``: sentences of little but figures and signs."""

from typing import Literal

from pydantic import Field

from pipelines.corpus.filters.base import Filter


class Letters(Filter):
    """Letters, with the marks on them, are less than ``min_share`` of what is no space."""

    name: Literal["letters"]
    min_share: float = Field(ge=0, le=1, examples=[0.5])

    def sentence(self, sentence: str, language: str) -> bool:
        """Too few letters."""
        seen = [char for char in sentence if char != " "]
        return sum(map(_is_letter, seen)) < self.min_share * len(seen)


def _is_letter(char: str) -> bool:
    import unicodedata

    return char.isalpha() or (not char.isascii() and unicodedata.category(char)[0] == "M")
