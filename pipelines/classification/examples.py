"""Labelled sentences, and pairs of them: from TSV files, or made from a corpus."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipelines.formats.corpus.files import PAIR_SPLITS, pair_file, read_lines
from pipelines.formats.randomness import generator
from pipelines.formats.text import Tally, bad_byte, lines_of, normalise
from pipelines.frame.errors import DataError, broken_rule

Splits = dict[str, list["Example"]]
_HEADERS = (["label", "text"], ["label", "text", "text_pair"])


@dataclass(frozen=True)
class Example:
    """One or two texts and what they are."""

    label: str
    text: str
    text_pair: str | None = None


def read_tables(folder: Path, changed: Tally | None = None) -> Splits:
    """``train.tsv``, ``valid.tsv`` and ``test.tsv`` of a folder.

    UTF-8; a header line ``label``, ``text`` and, for pairs, ``text_pair``; an example a line, tabs
    between the columns, no quoting. Texts are normalised as everywhere
    (`pipelines.formats.text.normalise`).

    Args:
        folder: of the tables.
        changed: counts the texts that normalising changed.

    Raises:
        DataError: a file is missing or no such table; training examples have fewer than two labels;
            another split has a label they lack.
    """
    splits = {
        split: _read_table(folder / f"{split}.tsv", changed or Tally()) for split in PAIR_SPLITS
    }
    known = sorted({example.label for example in splits["train"]})
    if len(known) < 2:
        rule = "be at least 2: there is nothing to tell apart"
        raise DataError(
            broken_rule(
                str(folder / "train.tsv"), "labels", len(known), rule, "add examples of another"
            )
        )
    for split, examples in splits.items():
        for number, example in enumerate(examples, start=2):
            if example.label not in known:
                where = f"{folder / split}.tsv:{number}"
                rule = f"be one of train.tsv's ({', '.join(known)})"
                raise DataError(
                    broken_rule(
                        where, "label", example.label, rule, "correct it or add training examples"
                    )
                )
    return splits


def word_order(folder: Path, languages: tuple[str, str], seed: int) -> Splits:
    """A task from any corpus: are two neighbouring words of a sentence swapped?

    Every sentence of the corpus's pairs comes twice, once *intact*, once *swapped* ("bigram shift"
    of Conneau et al. 2018, "What you can cram into a single vector"). Neither the first nor the
    last word is moved: case and full stop would tell.

    Raises:
        DataError: the corpus is missing, or all sentences of a split are too short.
    """
    splits = {split: list(_shifted(folder, split, languages, seed)) for split in PAIR_SPLITS}
    for split, examples in splits.items():
        if not examples:
            rule = "be at least 1 (only a sentence of four words has two to swap)"
            raise DataError(
                broken_rule(f"{folder}, {split} pairs", "examples", 0, rule, "add longer sentences")
            )
    return splits


def _read_table(path: Path, changed: Tally) -> list[Example]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error}); put a TSV in UTF-8 there") from None
    if found := bad_byte(data):
        raise DataError(f"{path}: cannot be read as a TSV in UTF-8: {found}")
    lines = lines_of(data)
    header = lines[0].rstrip("\r").split("\t")
    if header not in _HEADERS:
        rule = "be 'label', 'text' and, for pairs, 'text_pair', with tabs between them"
        raise DataError(
            broken_rule(f"{path}:1", "header", lines[0][:60], rule, "put it on the first line")
        )
    if len(lines) == 1:
        raise DataError(broken_rule(str(path), "examples", 0, "be at least 1", "add some"))
    examples = []
    for number, line in enumerate(lines[1:], start=2):
        note = changed.noting(f"{path.name}:{number}", line)
        cells = [normalise(cell, note) for cell in line.rstrip("\r").split("\t")]
        if len(cells) != len(header) or not all(cells):
            rule = f"have {len(header)} columns that are not empty, as the header"
            raise DataError(
                broken_rule(f"{path}:{number}", "line", line[:60], rule, "correct or remove it")
            )
        examples.append(Example(*cells))
    return examples


def _shifted(folder: Path, split: str, languages: tuple[str, str], seed: int) -> Iterator[Example]:
    rng = generator(seed, f"word order {split}")
    for language in languages:
        path = pair_file(folder, split, language)
        try:
            sentences = dict.fromkeys(read_lines(path))
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error}); run dvc repro corpus") from None
        for sentence in sentences:
            words = sentence.split()
            places = [
                place for place in range(1, len(words) - 2) if words[place] != words[place + 1]
            ]
            if places:
                yield Example("intact", sentence)
                place = places[int(rng.integers(len(places)))]
                words[place], words[place + 1] = words[place + 1], words[place]
                yield Example("swapped", " ".join(words))
