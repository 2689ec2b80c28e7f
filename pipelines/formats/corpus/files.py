"""The corpus in memory and on disk: documents and pairs, by split and language.

On disk a sentence is a line and a blank line ends a document; pairs are line-aligned files.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines.formats.text import Tally, num_words
from pipelines.frame.errors import DataError, broken_rule
from pipelines.frame.files import write_json

DocumentList = list[list[str]]
DOCUMENT_SPLITS = ("train", "valid")
PAIR_SPLITS = ("train", "valid", "test")
ORIGINS_FILE = "sources.json"


def document_file(folder: Path, split: str, language: str) -> Path:
    """Where the documents of a split lie."""
    return folder / f"documents.{split}.{language}.txt"


def pair_file(folder: Path, split: str, language: str) -> Path:
    """Where one side of a split's pairs lies."""
    return folder / f"pairs.{split}.{language}.txt"


@dataclass
class Corpus:
    """All text of a project.

    No sentence of a document is empty, for a blank line ends one; test pairs are never left out.

    Attributes:
        languages: source, target.
        documents: (split, language) → documents, each a list of sentences.
        pairs: split → (source, target) sentences.
        changed: lines that normalising changed, by kind.
        sources: name → what was read of it, dropped and kept; None where none were read.
        origins: file → the sources its sentences come from, in order, with their numbers.
    """

    languages: tuple[str, str]
    documents: dict[tuple[str, str], DocumentList]
    pairs: dict[str, list[tuple[str, str]]]
    changed: Tally = field(default_factory=Tally)
    sources: dict[str, Any] | None = None
    origins: dict[str, list[tuple[str, int]]] = field(default_factory=dict)

    def check(self) -> None:
        """Refuse a corpus no stage could train on.

        Raises:
            DataError: a split is empty, or has too few documents for an NSP negative.
        """
        for (split, language), documents in self.documents.items():
            where = f"corpus, {split} documents in '{language}'"
            if len(documents) < 2:
                rule = "be at least 2: NSP takes its negatives from another document"
                raise DataError(
                    broken_rule(where, "number of documents", len(documents), rule, "add documents")
                )
            if all(len(document) < 2 for document in documents):
                rule = "hold a document of at least 2 sentences: NSP needs a next sentence"
                remedy = "give documents of several sentences"
                raise DataError(broken_rule(where, "longest document", 1, rule, remedy))
        for split, pairs in self.pairs.items():
            if not pairs:
                raise DataError(
                    broken_rule(
                        f"corpus, {split} pairs",
                        "number of pairs",
                        0,
                        "be at least 1",
                        "add sentence pairs",
                    )
                )

    def write(self, folder: Path) -> None:
        """Write all files of the corpus into a folder."""
        for (split, language), documents in self.documents.items():
            text = "\n".join(
                "".join(f"{sentence}\n" for sentence in document) for document in documents
            )
            document_file(folder, split, language).write_text(text, encoding="utf-8", newline="\n")
        for split, pairs in self.pairs.items():
            for side, language in enumerate(self.languages):
                text = "".join(f"{pair[side]}\n" for pair in pairs)
                pair_file(folder, split, language).write_text(text, encoding="utf-8", newline="\n")

        if self.origins:
            write_json(folder / ORIGINS_FILE, self.origins)

    def report(self) -> dict[str, object]:
        """Counts of everything kept and dropped, and how far the test set is seen elsewhere."""
        return {
            "documents": {
                f"{split}.{language}": {
                    "documents": len(documents),
                    "sentences": sum(len(document) for document in documents),
                    "words": sum(
                        num_words(sentence) for document in documents for sentence in document
                    ),
                }
                for (split, language), documents in self.documents.items()
            },
            "pairs": {split: len(pairs) for split, pairs in self.pairs.items()},
            **self._origin(),
            "changed": self.changed.report(),
            "test_sentences_seen": {
                language: self._num_test_sentences_seen(side, language)
                for side, language in enumerate(self.languages)
            },
        }

    def _origin(self) -> dict[str, Any]:
        if self.sources is None:  # the grammar writes what is wanted, and nothing else
            pairs = {split: len(pairs) for split, pairs in self.pairs.items()}
            return {"pairs_read": pairs, "dropped": {}}
        return {"sources": self.sources}

    def _num_test_sentences_seen(self, side: int, language: str) -> int:
        seen = {pair[side] for pair in self.pairs["train"]}
        for split in DOCUMENT_SPLITS:
            seen.update(
                sentence for document in self.documents[split, language] for sentence in document
            )
        return sum(pair[side] in seen for pair in self.pairs["test"])


def read_lines(path: Path) -> list[str]:
    """The lines of a corpus file, split at newlines alone."""
    return path.read_text(encoding="utf-8").removesuffix("\n").split("\n")


def read_documents(folder: Path, split: str, language: str) -> DocumentList:
    """The documents of a split, as written."""
    text = document_file(folder, split, language).read_text(encoding="utf-8")
    return [block.removesuffix("\n").split("\n") for block in text.split("\n\n")]


def read_origins(folder: Path, file: Path) -> list[tuple[str, int]]:
    """The sources of a corpus file's sentences, in order; none where the grammar wrote it."""
    path = folder / ORIGINS_FILE
    found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return [(str(name), int(count)) for name, count in found.get(file.name, [])]
