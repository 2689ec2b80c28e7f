"""What is read, kept, dropped and split as one: a document, or a pair."""

import hashlib
from dataclasses import dataclass, field


@dataclass(slots=True)
class Document:
    """Sentences that follow one another, of one language.

    Attributes:
        source: its name.
        split: given, or an empty string where it is drawn.
        language: of all sentences.
        file: as people find it.
        numbers: of each sentence's line, row or unit in the file, from 1.
        sentences: normalised; None where one was dropped, so that its neighbours are none.
        key: of the document as read, so that cleaning moves it to no other split.
    """

    source: str
    split: str
    language: str
    file: str
    numbers: list[int]
    sentences: list[str | None]
    key: int = field(init=False)

    def __post_init__(self) -> None:
        self.key = content_key("\n".join(sentence or "" for sentence in self.sentences))

    def fragments(self) -> list[list[str]]:
        """Runs of sentences that did follow one another.

        >>> Document("web", "", "en", "a.txt", [1, 2, 3, 4], ["A.", "B.", None, "D."]).fragments()
        [['A.', 'B.'], ['D.']]
        """
        runs: list[list[str]] = [[]]
        for sentence in self.sentences:
            if sentence is not None:
                runs[-1].append(sentence)
            elif runs[-1]:
                runs.append([])
        return [run for run in runs if run]


@dataclass(slots=True)
class Pair:
    """A sentence and its translation.

    Attributes:
        source: its name.
        split: given, or an empty string where it is drawn.
        file, number: where it stands.
        sides: source and target sentence, normalised.
        key: of the source sentence, so that all its translations are in one split.
    """

    source: str
    split: str
    file: str
    number: int
    sides: tuple[str, str]
    key: int = field(init=False)

    def __post_init__(self) -> None:
        self.key = content_key(self.sides[0])


def content_key(text: str) -> int:
    """64 bits of a text's SHA-256: the same on every machine and in every order."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def share_of(key: int, salt: str) -> float:
    """A number in [0, 1) that a key has for one purpose, independent of other purposes."""
    mixed = hashlib.sha256(salt.encode() + key.to_bytes(8, "big")).digest()
    return int.from_bytes(mixed[:8], "big") / 2**64
