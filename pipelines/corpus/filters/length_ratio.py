"""``length_ratio``: pairs one side of which is much longer than the other."""

from typing import Literal

from pydantic import Field

from pipelines.corpus.filters.base import Filter
from pipelines.formats.text import num_words


class LengthRatio(Filter):
    """The longer side has more than ``max_ratio`` times the words or characters of the shorter.

    Sides of up to ``exempt_words`` words are never dropped: of a few words any ratio is an
    accident.
    """

    name: Literal["length_ratio"]
    unit: Literal["words", "characters"] = Field(examples=["words"])
    max_ratio: float = Field(ge=1, examples=[3.0])
    exempt_words: int = Field(ge=0, examples=[4])

    def pair(self, source: str, target: str) -> bool:
        """Too different in length."""
        words = num_words(source), num_words(target)
        if max(words) <= self.exempt_words:
            return False
        sizes = words if self.unit == "words" else (len(source), len(target))
        return max(sizes) > self.max_ratio * min(sizes)
