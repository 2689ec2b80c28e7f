"""The ledger of a corpus: what was read, what each filter dropped, what was kept.

Documents count by sentences, pairs by pairs. ``read = kept + Σ dropped`` holds for each source, or
the stage fails.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from pipelines.corpus.passages import Document, Pair
from pipelines.formats.text import num_words

NUM_SAMPLES = 5
_LONGEST_SAMPLE = 120


@dataclass
class Dropped:
    """What one filter took out of one source."""

    count: int = 0
    samples: list[dict[str, str]] = field(default_factory=list)

    def add(self, where: str, text: str) -> None:
        """Count one sentence or pair; the first five are shown."""
        self.count += 1
        if len(self.samples) < NUM_SAMPLES:
            self.samples.append({"where": where, "text": text[:_LONGEST_SAMPLE]})


@dataclass
class Account:
    """Of one source.

    Attributes:
        holds: documents or pairs.
        read: sentences or pairs.
        dropped: by filter, in the order they were applied.
        kept: sentences or pairs, by split; each once, however often its weight has it written.
        characters, words, sentences: of what was kept, by language.
        written: sentences or pairs, by split, as often as the weight says.
        leaked: training sentences or pairs that held-out text has, and that were kept.
    """

    holds: str
    read: int = 0
    dropped: dict[str, Dropped] = field(default_factory=dict)
    kept: dict[str, int] = field(default_factory=dict)
    characters: dict[str, int] = field(default_factory=dict)
    words: dict[str, int] = field(default_factory=dict)
    sentences: dict[str, int] = field(default_factory=dict)
    written: dict[str, int] = field(default_factory=dict)
    leaked: int = 0

    def drop(self, reason: str, where: str, text: str) -> None:
        """Count one sentence or pair that a filter took out."""
        self.dropped.setdefault(reason, Dropped()).add(where, text)

    def keep(
        self, split: str, sentences: Iterable[tuple[str, str]], units: int, written: int
    ) -> None:
        """Count what stays: (language, sentence) each, how many units they are and become."""
        self.kept[split] = self.kept.get(split, 0) + units
        self.written[split] = self.written.get(split, 0) + written
        for language, sentence in sentences:
            self.sentences[language] = self.sentences.get(language, 0) + 1
            self.characters[language] = self.characters.get(language, 0) + len(sentence)
            self.words[language] = self.words.get(language, 0) + num_words(sentence)

    def report(self) -> dict[str, object]:
        """All of it, for ``report.json``."""
        balance = sum(self.kept.values()) + sum(one.count for one in self.dropped.values())
        assert balance == self.read, f"read {self.read:,}, but kept and dropped {balance:,}"
        return {
            "holds": self.holds,
            "read": self.read,
            "dropped": {
                reason: {"count": one.count, "samples": one.samples}
                for reason, one in self.dropped.items()
            },
            "kept": dict(sorted(self.kept.items())),
            "written": dict(sorted(self.written.items())),
            "leaked": self.leaked,
            "sentences": self.sentences,
            "words": self.words,
            "characters": self.characters,
        }


@dataclass
class Ledger:
    """The accounts of all sources.

    Attributes:
        languages: source, target.
        accounts: by name of source.
    """

    languages: tuple[str, str]
    accounts: dict[str, Account] = field(default_factory=dict)

    def drop(self, reason: str, passage: Document | Pair, index: int = 0) -> None:
        """Count a document's sentence, or a pair, that a filter took out."""
        account = self.accounts[passage.source]
        if isinstance(passage, Pair):
            text = " ||| ".join(passage.sides)
            account.drop(reason, f"{passage.file}:{passage.number}", text)
        else:
            where = f"{passage.file}:{passage.numbers[index]}"
            account.drop(reason, where, passage.sentences[index] or "")

    def report(self) -> dict[str, object]:
        """Name of source → its account."""
        return {name: account.report() for name, account in self.accounts.items()}
