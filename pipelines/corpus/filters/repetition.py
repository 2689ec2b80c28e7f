"""``repetition``: sentences that say one thing again and again, and lines a document repeats."""

from collections import Counter
from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from pipelines.corpus.filters.base import Filter
from pipelines.formats.text import num_words, spaced


class Repetition(Filter):
    """Rae et al. 2021 (Gopher), appendix A.1.1, by sentence instead of by page.

    Attributes:
        ngram: words of a run.
        max_share: of the sentence's words that runs which occur more than once may cover.
        max_times: that a document may have the same sentence; the first ones stay.
    """

    name: Literal["repetition"]
    ngram: int = Field(ge=1, le=20, examples=[3])
    max_share: float = Field(gt=0, le=1, examples=[0.3])
    max_times: int = Field(ge=1, examples=[3])

    def sentence(self, sentence: str, language: str) -> bool:
        """Runs of words that come again cover too much of it."""
        if num_words(sentence) < 2 * self.ngram:
            return False
        words = spaced(sentence).split()
        runs = [tuple(words[at : at + self.ngram]) for at in range(len(words) - self.ngram + 1)]
        counts = Counter(runs)
        if len(counts) == len(runs):
            return False
        covered = {
            place
            for at, run in enumerate(runs)
            if counts[run] > 1
            for place in range(at, at + self.ngram)
        }
        return len(covered) > self.max_share * len(words)

    def sentences(self, sentences: Sequence[str], language: str) -> list[bool]:
        """The same, and what the document has said too often."""
        seen: Counter[str] = Counter()
        verdicts = []
        for sentence in sentences:
            seen[sentence] += 1
            verdicts.append(seen[sentence] > self.max_times or self.sentence(sentence, language))
        return verdicts
