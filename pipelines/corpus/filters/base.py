"""What a filter is.

A filter says of a sentence, a pair or a document whether it is dropped. One that has to know all
text first makes its judge of it in a first pass (`Filter.begin`); the others are their own judge.
"""

from collections.abc import Iterable, Sequence
from typing import Literal

from pipelines.corpus.passages import Document, Pair
from pipelines.frame.params_reader import Section

Passage = Document | Pair


class Judge:
    """What decides. Whatever a method is not written for is kept."""

    def sentence(self, sentence: str, language: str) -> bool:
        """Whether a document's sentence, or a pair's side and with it the pair, is dropped."""
        return False

    def sentences(self, sentences: Sequence[str], language: str) -> list[bool]:
        """Of each of a document's sentences whether it is dropped, knowing the others."""
        return [self.sentence(sentence, language) for sentence in sentences]

    def pair(self, source: str, target: str) -> bool:
        """Whether a pair is dropped."""
        return False

    def document(self, sentences: Sequence[str], language: str) -> bool:
        """Whether a document is dropped as a whole."""
        return False


class Filter(Section, Judge):
    """One entry of the list ``filters`` in ``params.yaml``.

    Attributes:
        applies_to: documents, pairs, or both.
    """

    applies_to: Literal["all", "documents", "pairs"]

    def begin(self, passages: Iterable[Passage]) -> Judge:
        """The judge of this text; a filter of two passes reads it here."""
        return self
