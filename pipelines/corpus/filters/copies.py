"""``copies``: pairs whose target is their source."""

from typing import Literal

from pipelines.corpus.comparing import sameness
from pipelines.corpus.filters.base import Filter


class Copies(Filter):
    """Both sides are the same words, whatever their case and punctuation: copies teach a model to
    copy (Khayrallah and Koehn 2018).
    """

    name: Literal["copies"]
    applies_to: Literal["pairs"]

    def pair(self, source: str, target: str) -> bool:
        """The same text."""
        return sameness(source) == sameness(target)
