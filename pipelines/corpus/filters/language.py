"""``language``: sentences in another language than they should be in."""

from typing import Literal

from pydantic import Field

from pipelines.corpus.filters.base import Filter
from pipelines.frame.params_reader import Name


class LanguageFilter(Filter):
    """By py3langid (a model of 97 languages that comes with it).

    Short sentences are not judged: language identification deletes good short phrases
    (mozilla/translations #814). Neither are languages that are not named.

    Attributes:
        codes: name of the language here → codes that are right (ISO 639-1), the first of them
            and near relatives that it is mistaken for.
        min_characters: shorter sentences are exempt.
    """

    name: Literal["language"]
    codes: dict[Name, list[str]] = Field(min_length=1, examples=[{"en": ["en"]}])
    min_characters: int = Field(ge=0, examples=[50])

    def sentence(self, sentence: str, language: str) -> bool:
        """Long enough to tell, and of another language."""
        codes = self.codes.get(language)
        if codes is None or len(sentence) < self.min_characters:
            return False
        import py3langid

        return py3langid.classify(sentence)[0] not in codes
