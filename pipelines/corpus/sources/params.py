"""What a source of text is in ``params.yaml``."""

from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from pipelines.frame.params_reader import Name, Section

Split = Literal["train", "valid", "test"]
Language = Name  # ends a file's name: en, de, question, answer
Sentences = Literal["lines", "split_lines", "split_paragraphs"]


def _below_raw(pattern: str) -> str:
    if PurePosixPath(pattern).is_absolute() or ".." in PurePosixPath(pattern).parts:
        raise ValueError("must lie in corpus.raw, which DVC watches")
    return pattern


Pattern = Annotated[str, Field(min_length=1), AfterValidator(_below_raw)]
Patterns = Annotated[list[Pattern], Field(min_length=1)]
Column = Annotated[str, Field(min_length=1)] | Annotated[int, Field(ge=1)]


class Source(Section):
    """What all sources have.

    Attributes:
        split: where its text goes; ``drawn``: shared out by ``splits``.
        weight: how often its training text is written: 2 twice, 0.5 half of it.
    """

    split: Split | Literal["drawn"]
    weight: float = Field(gt=0, le=100)


class TextSource(Source):
    """Documents of one language in text files: plain, .gz, .bz2, .xz or .zst.

    Attributes:
        files: paths, globs or folders below ``corpus.raw``.
        language: of all of them.
        documents: what ends one: a blank line, the file, or WikiText's `` = Title = ``.
        sentences: ``lines``: each line is one; ``split_lines``: lines hold whole sentences;
            ``split_paragraphs``: sentences go on across line ends, to a blank line.
    """

    kind: Literal["text"]
    files: Patterns
    language: Language
    documents: Literal["blank_lines", "files", "headings"]
    sentences: Sentences


class AlignedSource(Source):
    """Pairs in two text files, line i of one translates line i of the other.

    Attributes:
        files: language → paths, globs or folders; matched in the order of their names.
    """

    kind: Literal["aligned"]
    files: dict[Language, Patterns]


class TableSource(Source):
    """Rows of .csv, .tsv, .jsonl or .parquet, packed or not.

    Attributes:
        files: paths, globs or folders below ``corpus.raw``.
        fields: language → column, by its name (dots lead into records: ``translation.en``) or, in
            a CSV or TSV without a header, by its number from 1. One language: each row is a
            document; two: a pair.
        sentences: of documents, as in `TextSource`.
    """

    kind: Literal["table"]
    files: Patterns
    fields: Annotated[dict[Language, Column], Field(min_length=1, max_length=2)]
    sentences: Sentences


class TmxSource(Source):
    """Pairs of translation memories (TMX 1.4b), by ``xml:lang``: ``en`` takes ``en-GB`` too."""

    kind: Literal["tmx"]
    files: Patterns


class OpusSource(Source):
    """Pairs of OPUS's zips: the two Moses files in each, ``*.en`` and ``*.de``."""

    kind: Literal["opus"]
    files: Patterns


AnySource = Annotated[
    TextSource | AlignedSource | TableSource | TmxSource | OpusSource, Field(discriminator="kind")
]


def languages_of(source: AnySource) -> tuple[str, ...] | None:
    """The languages a source names; None: it has both, by their names in its files."""
    match source:
        case TextSource():
            return (source.language,)
        case AlignedSource():
            return tuple(source.files)
        case TableSource():
            return tuple(source.fields)
    return None


def has_documents(source: AnySource) -> bool:
    """Whether it holds documents; else pairs."""
    return isinstance(source, TextSource) or (
        isinstance(source, TableSource) and len(source.fields) == 1
    )
