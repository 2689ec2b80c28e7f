"""``duplicates``: documents and pairs that were there before, word for word."""

from collections.abc import Iterable, Sequence
from typing import Literal

from pydantic import Field

from pipelines.corpus.comparing import sameness
from pipelines.corpus.filters.base import Filter, Judge, Passage
from pipelines.corpus.passages import content_key


class Duplicates(Filter):
    """The first one stays. Of pairs ``of`` says what must be the same: both sides, or one.

    Case and punctuation do not count (`sameness`). Documents are compared whole, as the filters
    before left them.
    """

    name: Literal["duplicates"]
    of: Literal["pair", "source", "target"] = Field(examples=["pair"])

    def begin(self, passages: Iterable[Passage]) -> Judge:
        """A judge that has seen nothing yet."""
        return _Seen(self.of)


class _Seen(Judge):
    def __init__(self, of: str) -> None:
        self._of = of
        self._keys: set[int] = set()

    def pair(self, source: str, target: str) -> bool:
        sides = {"pair": (source, target), "source": (source,), "target": (target,)}[self._of]
        return self._again("\n".join(map(sameness, sides)))

    def document(self, sentences: Sequence[str], language: str) -> bool:
        return self._again(f"{language}\n" + "\n".join(map(sameness, sentences)))

    def _again(self, text: str) -> bool:
        key, before = content_key(text), len(self._keys)
        self._keys.add(key)
        return len(self._keys) == before
