"""The text in the report: what was read, dropped and kept, how long its sentences are, and how it
fares in the tokenizer, by language and source.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.formats.corpus.files import document_file, pair_file, read_lines, read_origins
from pipelines.formats.text import num_words
from pipelines.formats.tokenizer.tokenizer import SubwordTokenizer
from pipelines.formats.vocabulary.special_tokens import UNK
from pipelines.report.results import DATA

CORPUS, TOKENIZER = DATA / "corpus", DATA / "tokenizer"
_MOST = 20_000  # sentences of a group, evenly taken
_LONGEST_WORDS = 3
_SAMPLES, _SHOWN = 2, 200  # sentences of a group, and characters of one


@dataclass(frozen=True)
class Group:
    """Sentences of one language and source, of training or of test text.

    Attributes:
        text: training or test.
        language: of them.
        source: its name, or ``all`` where the corpus is of one piece.
        count: how many there are.
        sentences: at most `_MOST` of them.
    """

    text: str
    language: str
    source: str
    count: int
    sentences: Sequence[str]


def groups(languages: tuple[str, str]) -> list[Group]:
    """The training text (documents and pairs) and the test pairs, by language and source."""
    found = []
    for text in ("training", "test"):
        for language in languages:
            by_source: dict[str, list[str]] = {}
            for file in _files(text, language):
                for source, sentence in _sourced(file):
                    by_source.setdefault(source, []).append(sentence)
            for source, sentences in by_source.items():
                every = max(1, len(sentences) // _MOST)
                found.append(
                    Group(text, language, source, len(sentences), sentences[::every][:_MOST])
                )
    return found


def _files(text: str, language: str) -> list[Path]:
    if text == "test":
        return [pair_file(CORPUS, "test", language)]
    return [document_file(CORPUS, "train", language), pair_file(CORPUS, "train", language)]


def _sourced(file: Path) -> Iterator[tuple[str, str]]:
    """Each sentence of a file with its source."""
    sentences = (
        [line for line in read_lines(file) if line]
        if "documents" in file.name
        else read_lines(file)
    )
    origins = read_origins(CORPUS, file) or [("all", len(sentences))]
    names = (name for source, count in origins for name in repeat(source, count))
    yield from zip(names, sentences, strict=True)


def corpus_table(report: dict[str, Any]) -> list[list[str]]:
    """One row a source: read, dropped by each filter, kept; only the header if none was read."""
    sources = report.get("sources", {})
    reasons = list(dict.fromkeys(why for one in sources.values() for why in one["dropped"]))
    rows = [["source", "unit", "read", *reasons, "kept", "characters"]]
    for name, one in sources.items():
        kept = sum(one["kept"].values())
        counts = [one["dropped"].get(why, {"count": 0})["count"] for why in reasons]
        unit = "pairs" if one["holds"] == "pairs" else "sentences"
        cells = [one["read"], *counts, kept, sum(one["characters"].values())]
        rows.append([name, unit, *(f"{cell:,}" for cell in cells)])
    return rows


def dropped_samples(report: dict[str, Any]) -> list[list[str]]:
    """Up to five of what each filter dropped of each source: filter, where, text."""
    rows = [["filter", "where", "text"]]
    for one in report.get("sources", {}).values():
        for why, dropped in one["dropped"].items():
            rows += [[why, sample["where"], sample["text"]] for sample in dropped["samples"]]
    return rows


def samples_table(found: Sequence[Group]) -> list[list[str]]:
    """Sentences of each group, evenly taken, as the corpus keeps them."""
    rows = [["text", "language", "source", "sentence"]]
    for group in found:
        count = len(group.sentences)
        for place in range(min(_SAMPLES, count)):
            sentence = group.sentences[count * (2 * place + 1) // (2 * _SAMPLES)]
            shown = sentence[:_SHOWN] + "…" * (len(sentence) > _SHOWN)
            rows.append([group.text, group.language, group.source, shown])
    return rows


def tokenizer_table(found: Sequence[Group]) -> list[list[str]]:
    """How each group fares: pieces a word (fertility), characters a piece, unknown pieces, the
    words that take most pieces.
    """
    tokenizer = SubwordTokenizer.load(TOKENIZER)
    rows = [
        [
            "text",
            "language",
            "source",
            "sentences",
            "pieces a word",
            "characters a piece",
            "unknown",
            "longest words (pieces)",
        ]
    ]
    for group in found:
        encoded = tokenizer.encode(group.sentences)
        pieces = sum(map(len, encoded))
        words = sum(map(num_words, group.sentences))
        letters = sum(len(sentence) - sentence.count(" ") for sentence in group.sentences)
        unknown = sum(row.count(UNK) for row in encoded)
        rows.append(
            [
                group.text,
                group.language,
                group.source,
                f"{group.count:,}",
                f"{pieces / max(1, words):.2f}",
                f"{letters / max(1, pieces):.2f}",
                f"{100 * unknown / max(1, pieces):.2f} %",
                ", ".join(f"{word[:30]} ({size})" for word, size in _longest(tokenizer, group)),
            ]
        )
    return rows


def _longest(tokenizer: SubwordTokenizer, group: Group) -> list[tuple[str, int]]:
    """The words with most pieces; equally long ones by frequency."""
    words = Counter(word for sentence in group.sentences for word in sentence.split())
    likely = sorted(words, key=lambda word: (-len(word), word))[:200]
    sizes = {word: len(row) for word, row in zip(likely, tokenizer.encode(likely), strict=True)}
    return sorted(sizes.items(), key=lambda one: (-one[1], -words[one[0]], one[0]))[:_LONGEST_WORDS]


def draw_lengths(found: Sequence[Group], folder: Path) -> None:
    """``lengths.svg``: the share of sentences by their words, a curve a language and source."""
    from pipelines.report.style import colour, dash, label_ends, new_figure, save

    figure, (axes,) = new_figure()
    for number, group in enumerate(group for group in found if group.text == "training"):
        lengths = np.array([num_words(sentence) for sentence in group.sentences])
        edges = np.unique(np.geomspace(1, max(2, lengths.max() + 1), 40).astype(int))
        counts, _ = np.histogram(lengths, edges)
        shares = counts / np.diff(edges) / max(1, len(lengths))
        label = group.language if group.source == "all" else f"{group.source}, {group.language}"
        axes.plot(edges[:-1], shares, color=colour(number), linestyle=dash(number), label=label)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set(xlabel="words of a sentence", ylabel="share of sentences")
    label_ends(axes)
    save(figure, folder / "lengths.svg")
