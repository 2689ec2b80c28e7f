"""``boilerplate``: lines that stand in many documents: menus, licences, bylines."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal

from pydantic import Field

from pipelines.corpus.filters.base import Filter, Judge, Passage
from pipelines.corpus.passages import Document


class Boilerplate(Filter):
    """A sentence that at least ``min_documents`` documents have, and ``min_share`` of all of its
    language. Two passes: the first counts documents by sentence.
    """

    name: Literal["boilerplate"]
    applies_to: Literal["documents"]
    min_documents: int = Field(ge=2, examples=[10])
    min_share: float = Field(ge=0, le=1, examples=[0.001])

    def begin(self, passages: Iterable[Passage]) -> Judge:
        """Count in how many documents each sentence stands."""
        counts: Counter[tuple[str, str]] = Counter()
        documents: Counter[str] = Counter()
        for passage in passages:
            if isinstance(passage, Document):
                documents[passage.language] += 1
                counts.update(
                    (passage.language, sentence) for sentence in set(passage.sentences) if sentence
                )
        return _Common(
            {
                key
                for key, count in counts.items()
                if count >= self.min_documents and count >= self.min_share * documents[key[0]]
            }
        )


class _Common(Judge):
    def __init__(self, common: set[tuple[str, str]]) -> None:
        self._common = common

    def sentences(self, sentences: Sequence[str], language: str) -> list[bool]:
        return [(language, sentence) in self._common for sentence in sentences]
