"""Text files of documents, and pairs of aligned text files."""

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import zip_longest
from pathlib import Path

from pipelines.corpus.sources.opening import lines_of
from pipelines.corpus.sources.params import AlignedSource, Sentences, TextSource
from pipelines.corpus.sources.paths import expand
from pipelines.corpus.sources.sentences import joined, split_sentences
from pipelines.frame.errors import DataError

Normaliser = Callable[[str, int, str], str]  # file, number, line → its one form

HEADING = re.compile(r" ?=( =)* [^=\s](.*\S)? =( =)* *")  # WikiText, any level: ` = = Career = = `
TITLE = re.compile(r" ?= [^=\s](.*[^=\s])? = *")  # the first level: ` = Robert Boulter = `


class Heading(str):
    """A line that is no sentence: what stands before and after it does not follow."""


Line = tuple[int, str]  # its number in the file, from 1


def documents_of(
    raw: Path, source: TextSource, key: str, normalise: Normaliser
) -> Iterator[tuple[str, list[Line]]]:
    """Each document of a source's files: its file, and its sentences and headings.

    Raises:
        DataError: see `expand`, `lines_of`.
    """
    for path in expand(raw, source.files, "text", key):
        name = path.relative_to(raw).as_posix()
        for block in _blocks(path, name, source.documents, normalise):
            yield name, sentences_of(block, source.language, source.sentences)


def _blocks(path: Path, name: str, ends: str, normalise: Normaliser) -> Iterator[list[Line]]:
    block: list[Line] = []
    for number, line in enumerate(lines_of(path), start=1):
        text = normalise(name, number, line)
        heading = ends == "headings" and HEADING.fullmatch(line)
        if (ends == "blank_lines" and not text) or (heading and TITLE.fullmatch(line)):
            if any(text for _, text in block):
                yield block
            block = []
        block.append((number, Heading(text) if heading else text))
    if any(text for _, text in block):
        yield block


def sentences_of(block: list[Line], language: str, sentences: Sentences) -> list[Line]:
    """The sentences and headings of a document's lines, each with the line it begins in."""
    found: list[Line] = []
    for number, text in paragraphs(block) if sentences == "split_paragraphs" else block:
        if sentences == "lines" or isinstance(text, Heading):
            found += [(number, text)] if text else []
        else:
            found += [(number, part) for part in split_sentences(language, text)]
    return found


def paragraphs(lines: list[Line]) -> Iterator[Line]:
    """Blocks between blank lines, each as one line with the number of its first; headings alone."""
    block: list[Line] = []
    for line in [*lines, (0, "")]:
        if line[1] and not isinstance(line[1], Heading):
            block.append(line)
            continue
        if block:
            yield block[0][0], joined(text for _, text in block)
            block = []
        if line[1]:
            yield line


def aligned_pairs(
    raw: Path, source: AlignedSource, languages: tuple[str, str], key: str
) -> Iterator[tuple[str, int, tuple[str, str]]]:
    """File, line and both sides of each pair, as written.

    Raises:
        DataError: see `expand`, `lines_of`; the sides differ in number of files or of lines.
    """
    sides = [expand(raw, source.files[language], "text", key) for language in languages]
    if len(sides[0]) != len(sides[1]):
        raise DataError(
            f"{raw}: number of files ({len(sides[0])} {languages[0]}, {len(sides[1])} "
            f"{languages[1]}) must be equal, each has its other side; correct {key} in params.yaml"
        )
    for paths in zip(*sides, strict=True):
        names = [path.relative_to(raw).as_posix() for path in paths]
        for number, sides_there in aligned(" and ".join(map(str, paths)), [*map(lines_of, paths)]):
            yield " and ".join(names), number, sides_there


def aligned(where: str, sides: Sequence[Iterator[str]]) -> Iterator[tuple[int, tuple[str, str]]]:
    """The lines of two sides, numbered from 1.

    Raises:
        DataError: one side has more lines; told at the end, with both numbers.
    """
    counts = [0, 0]
    for number, (one, other) in enumerate(zip_longest(*sides), start=1):
        counts = [counts[0] + (one is not None), counts[1] + (other is not None)]
        if one is not None and other is not None:
            yield number, (one, other)
    if counts[0] != counts[1]:
        raise DataError(
            f"{where}: number of lines ({counts[0]} and {counts[1]}) must be equal, line i of one "
            "translates line i of the other; align them"
        )
