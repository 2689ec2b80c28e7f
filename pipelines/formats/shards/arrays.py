"""Token shards: flat memory-mapped arrays with offsets, and their index.

A ragged list of token lists is two ``.npy`` files: all tokens in one row, and where each list
begins. Sentences of a document are neighbours, so a segment of several sentences is one slice of
tokens.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipelines.frame.errors import DataError

INDEX_FILE = "index.json"
Offsets = npt.NDArray[np.int64]
Tokens = npt.NDArray[np.uint16] | npt.NDArray[np.uint32]


def token_type(vocab_size: int) -> type[np.uint16] | type[np.uint32]:
    """The smallest integers that hold the ids of a vocabulary: uint16 up to 65,536 of them,
    else uint32.
    """
    return np.uint16 if vocab_size <= 2**16 else np.uint32


def write_ragged(
    folder: Path, name: str, rows: Sequence[Sequence[int]], vocab_size: int = 2**16
) -> None:
    """``<name>.tokens.npy`` (see `token_type`) and ``<name>.offsets.npy`` (int64,
    one more than rows).
    """
    offsets = np.zeros(len(rows) + 1, np.int64)
    np.cumsum([len(row) for row in rows], out=offsets[1:])
    tokens = np.fromiter(
        (token for row in rows for token in row), token_type(vocab_size), count=int(offsets[-1])
    )
    np.save(folder / f"{name}.tokens.npy", tokens)
    np.save(folder / f"{name}.offsets.npy", offsets)


@dataclass(frozen=True)
class Ragged:
    """Memory-mapped token lists: row i is ``tokens[offsets[i]:offsets[i + 1]]``."""

    tokens: Tokens
    offsets: Offsets

    @classmethod
    def open(cls, folder: Path, name: str) -> "Ragged":
        """Map the two files of ``name``.

        Raises:
            DataError: one of them is missing or damaged.
        """
        return cls(_map(folder / f"{name}.tokens.npy"), _map(folder / f"{name}.offsets.npy"))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> Tokens:
        return self.tokens[self.offsets[row] : self.offsets[row + 1]]

    @property
    def lengths(self) -> Offsets:
        """The number of tokens in each row, int64."""
        return np.diff(self.offsets)


@dataclass(frozen=True)
class DocumentShard:
    """The documents of one split.

    Attributes:
        sentences: all sentences, document after document.
        documents: document d is sentences ``documents[d]`` … ``documents[d + 1]``.
        languages: language → (first document, end); documents of a language are neighbours.
    """

    sentences: Ragged
    documents: Offsets
    languages: dict[str, tuple[int, int]]

    @classmethod
    def open(cls, folder: Path, split: str) -> "DocumentShard":
        """Map the documents of ``train`` or ``valid``."""
        languages = read_index(folder)["documents"][split]["languages"]
        return cls(
            Ragged.open(folder, f"documents.{split}"),
            _map(folder / f"documents.{split}.documents.npy"),
            {language: (first, end) for language, (first, end) in languages.items()},
        )


@dataclass(frozen=True)
class PairShard:
    """The sentence pairs of one split, row i of one side translating row i of the other.

    Attributes:
        source, target: their tokens.
        cut_targets: the rows, in order, whose targets were cut: they end in the middle, not at
            their end.
    """

    source: Ragged
    target: Ragged
    cut_targets: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))

    @classmethod
    def open(cls, folder: Path, split: str) -> "PairShard":
        """Map the pairs of ``train``, ``valid`` or ``test``."""
        source, target = (
            Ragged.open(folder, f"pairs.{split}.{side}") for side in ("source", "target")
        )
        cut = read_index(folder)["pairs"][split]["target"].get("cut_rows", [])
        return cls(source, target, np.array(cut, np.int64))

    def __len__(self) -> int:
        return len(self.source)


def read_index(folder: Path) -> dict[str, Any]:
    """``index.json``: counts, languages, vocabulary size.

    Raises:
        DataError: it is missing or damaged.
    """
    try:
        index: dict[str, Any] = json.loads((folder / INDEX_FILE).read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise DataError(
            f"{folder / INDEX_FILE}: cannot be read ({error}); run dvc repro shards"
        ) from None
    return index


def _map(path: Path) -> Any:
    try:
        return np.load(path, mmap_mode="r")
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({error}); run dvc repro shards") from None
