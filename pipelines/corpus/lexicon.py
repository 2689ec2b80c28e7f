"""The four tables of the embedded lexicon, read and checked.

What the columns mean is said in ``data/raw/embedded/README.md``.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pipelines.formats.text import bad_byte, lines_of, normalise
from pipelines.frame.errors import DataError

COLUMNS = {
    "nouns.tsv": (
        *("topic", "kind", "english", "english_plural", "gender", "german", "german_plural"),
        *("german_oblique", "placing", "adjectives"),
    ),
    "verbs.tsv": (
        *("topic", "english", "english_third", "english_participle"),
        *("german", "german_third", "german_participle", "german_prefix"),
    ),
    "adjectives.tsv": ("english", "german"),
    "syllables.tsv": ("first", "middle", "last", "gender"),
}


@dataclass(frozen=True)
class Adjective:
    """An English adjective and its German stem."""

    english: str
    german: str


@dataclass(frozen=True)
class Noun:
    """A noun with its forms; ``placing`` is explained in the lexicon's README."""

    topic: str
    kind: str
    english: str
    english_plural: str
    gender: str
    german: str
    german_plural: str
    german_oblique: str
    placing: str
    adjectives: tuple[Adjective, ...]


@dataclass(frozen=True)
class Verb:
    """A transitive verb; ``german_third`` comes without the separable prefix."""

    topic: str
    english: str
    english_third: str
    english_participle: str
    german: str
    german_third: str
    german_participle: str
    german_prefix: str

    @property
    def german_plural(self) -> str:
        """Third person plural without the prefix: the infinitive's own form."""
        return self.german.removeprefix(self.german_prefix)


@dataclass(frozen=True)
class Lexicon:
    """All words of the grammar that are not function words."""

    nouns: tuple[Noun, ...]
    verbs: tuple[Verb, ...]
    syllables: tuple[Mapping[str, str], ...]

    @cached_property
    def topics(self) -> list[str]:
        """Topics in alphabetical order."""
        return sorted({noun.topic for noun in self.nouns})

    def nouns_of(self, topic: str, kind: str) -> list[Noun]:
        """The persons, things or places of one topic."""
        return [noun for noun in self.nouns if (noun.topic, noun.kind) == (topic, kind)]

    def verbs_of(self, topic: str) -> list[Verb]:
        """The verbs that sentences of a topic draw from."""
        return [verb for verb in self.verbs if verb.topic == topic]


def read_lexicon(folder: Path) -> Lexicon:
    """Read the four tables.

    Raises:
        DataError: a table is missing, a row has the wrong number of columns, or a noun names an
            adjective that is not in its table.
    """
    adjectives = {row["english"]: Adjective(**row) for row in _rows(folder / "adjectives.tsv")}
    nouns = []
    for number, row in enumerate(_rows(folder / "nouns.tsv"), start=2):
        names = row.pop("adjectives").split(",")
        if unknown := [name for name in names if name not in adjectives]:
            raise DataError(
                f"{folder / 'nouns.tsv'}:{number}: adjective ({unknown[0]!r}) must stand in "
                "adjectives.tsv; add it"
            )
        nouns.append(Noun(**row, adjectives=tuple(adjectives[name] for name in names)))
    verbs = tuple(Verb(**row) for row in _rows(folder / "verbs.tsv"))
    return Lexicon(tuple(nouns), verbs, tuple(_rows(folder / "syllables.tsv")))


def _rows(path: Path) -> list[dict[str, str]]:
    restore = f"restore it with git checkout {path}"
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error}); {restore}") from None
    if found := bad_byte(data):
        raise DataError(f"{path}: cannot be read as UTF-8 text: {found}, or {restore}")
    lines = lines_of(data)
    header, *table = csv.reader(
        (line.rstrip("\r") for line in lines), delimiter="\t", quoting=csv.QUOTE_NONE
    )
    if tuple(header) != COLUMNS[path.name]:
        raise DataError(
            f"{path}:1: columns ({header}) must be {', '.join(COLUMNS[path.name])}; correct the "
            "header"
        )
    for number, row in enumerate(table, start=2):
        if len(row) != len(header):
            raise DataError(
                f"{path}:{number}: row ({row}) must have {len(header)} columns separated by tabs; "
                "correct it"
            )
    cells = ([normalise("" if cell == "-" else cell) for cell in row] for row in table)
    return [dict(zip(header, row, strict=True)) for row in cells]
