"""Validation and test text in the training text: found and taken out, always.

As GPT-3's authors did (Brown et al. 2020, appendix C): by runs of 13 words, and here by whole
sentences too.
"""

from collections.abc import Iterable, Iterator

from pipelines.corpus.comparing import words_of
from pipelines.corpus.filters.base import Judge
from pipelines.corpus.passages import Document, Pair
from pipelines.formats.text import spaced

RUN = 13  # words; of scripts without spaces twice as many letters
FEWEST = (
    8  # words; shorter sentences of documents are commonplaces: "It was a cold day." is in many
)


class Leaks(Judge):
    """Drops training text that the held-out text has.

    A training pair: one of its sides is, word for word, a held-out side, or shares a run of 13
    words with held-out text. A document's sentence: the same, but of whole sentences those count
    that have eight words or more.
    """

    def __init__(self, held_out: Iterable[Document | Pair]) -> None:
        self._sides: set[str] = set()
        self._sentences: set[str] = set()
        self._runs: set[tuple[str, ...]] = set()
        for passage in held_out:
            for text in passage.sides if isinstance(passage, Pair) else passage.sentences:
                words = words_of(text or "")
                self._runs.update(_runs(words))
                if isinstance(passage, Pair) and words:
                    self._sides.add(" ".join(words))
                if len(words) >= FEWEST:
                    self._sentences.add(" ".join(words))

    def sentence(self, sentence: str, language: str) -> bool:
        """A sentence of a training document."""
        words = words_of(sentence)
        return " ".join(words) in self._sentences or self._shares_run(words)

    def pair(self, source: str, target: str) -> bool:
        """A training pair."""
        for side in (source, target):
            words = words_of(side)
            if " ".join(words) in self._sides or self._shares_run(words):
                return True
        return False

    def _shares_run(self, words: list[str]) -> bool:
        return bool(self._runs) and any(run in self._runs for run in _runs(words))


def _runs(words: list[str]) -> Iterator[tuple[str, ...]]:
    if len(words) < RUN:
        return
    letters = sum(spaced(word) != word for word in words)
    size = 2 * RUN if 2 * letters > len(words) else RUN
    for start in range(len(words) - size + 1):
        yield tuple(words[start : start + size])
