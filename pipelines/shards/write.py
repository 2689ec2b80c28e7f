"""Stage ``shards``: corpus + tokenizer → memory-mapped token arrays."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.formats.corpus.files import (
    DOCUMENT_SPLITS,
    PAIR_SPLITS,
    document_file,
    pair_file,
    read_documents,
    read_lines,
)
from pipelines.formats.shards.arrays import INDEX_FILE, token_type, write_ragged
from pipelines.formats.tokenizer.tokenizer import TOKENIZER_FILE, WORTH_SAYING, SubwordTokenizer
from pipelines.formats.vocabulary.special_tokens import UNK
from pipelines.frame.errors import DataError, broken_rule
from pipelines.frame.files import sha256_of, write_json
from pipelines.frame.params_reader import ParamsFile
from pipelines.frame.stage import Metrics, Stage, StageRun, run_stage
from pipelines.shards.params import ShardsParams

CORPUS, TOKENIZER = Path("data/corpus"), Path("data/tokenizer")


def declare(params_file: ParamsFile) -> Stage:
    """Reads all text and the tokenizer."""
    sections = {
        "corpus.source_language": str,
        "corpus.target_language": str,
        "shards": ShardsParams,
    }
    return Stage("shards", "pipelines.shards.write", sections, (CORPUS, TOKENIZER))


def write(run: StageRun) -> Metrics:
    """Encode documents and pairs into ``run.work``.

    Raises:
        DataError: a sentence is too long, and ``too_long`` is ``refuse``.
    """
    languages = (
        run.section("corpus.source_language", str),
        run.section("corpus.target_language", str),
    )
    writer = ShardWriter(SubwordTokenizer.load(TOKENIZER), run.section("shards", ShardsParams))
    index: dict[str, Any] = {
        "vocab_size": writer.tokenizer.vocab_size,
        "dtype": np.dtype(token_type(writer.tokenizer.vocab_size)).name,
        "languages": list(languages),
        "tokenizer": sha256_of(TOKENIZER / TOKENIZER_FILE),
        "documents": {
            split: writer.write_documents(run.work, split, languages) for split in DOCUMENT_SPLITS
        },
        "pairs": {split: writer.write_pairs(run.work, split, languages) for split in PAIR_SPLITS},
    }
    write_json(run.work / INDEX_FILE, index)
    for warning in warnings_of(index):
        run.warn(warning)
    parts = [*index["documents"].values()]
    parts += [
        side for sides in index["pairs"].values() for side in (sides["source"], sides["target"])
    ]
    run.say(
        f"{sum(part['tokens'] for part in parts):,} tokens in "
        f"{sum(part['sentences'] for part in parts):,} sentences; "
        f"{sum(part['cut'] for part in parts):,} sentences cut"
    )
    return {"shards": {"documents": index["documents"], "pairs": index["pairs"]}}


def warnings_of(index: dict[str, Any]) -> Iterator[str]:
    """What the text loses on its way into the shards that somebody should know."""
    parts = {f"documents.{split}": counts for split, counts in index["documents"].items()}
    parts |= {
        f"pairs.{split}.{side}": counts
        for split, sides in index["pairs"].items()
        for side, counts in sides.items()
    }
    for name, counts in parts.items():
        if counts["unknown"] > WORTH_SAYING * counts["tokens"]:
            share = f"{100 * counts['unknown'] / counts['tokens']:.1f} % of the tokens of {name}"
            yield (
                f"{share} are [UNK]; look at the words, and at vocab_size, lowercase and "
                "strip_accents in tokenizer"
            )
        if counts["cut"] > WORTH_SAYING * counts["sentences"]:
            share = f"{100 * counts['cut'] / counts['sentences']:.1f} % of the sentences of {name}"
            yield (
                f"{share} were cut to shards.max_sentence_tokens ({counts['longest']}); raise it "
                "or split them"
            )


class ShardWriter:
    """Encodes sentences; cuts and counts those that are too long, or refuses them."""

    def __init__(self, tokenizer: SubwordTokenizer, params: ShardsParams) -> None:
        self.tokenizer = tokenizer
        self._params = params

    def write_documents(
        self, folder: Path, split: str, languages: tuple[str, str]
    ) -> dict[str, Any]:
        """The document shard of a split; its entry in the index."""
        sentences: list[list[int]] = []
        boundaries = [0]
        ranges: dict[str, tuple[int, int]] = {}
        for language in languages:
            documents = read_documents(CORPUS, split, language)
            first = len(boundaries) - 1
            texts = [sentence for document in documents for sentence in document]
            # The blank lines between documents.
            blanks = [number for number, document in enumerate(documents) for _ in document]
            places = [row + before + 1 for row, before in enumerate(blanks)]
            path = document_file(CORPUS, split, language)
            sentences += self._within_limit(path, texts, places, self.tokenizer.encode(texts))
            boundaries += (
                boundaries[-1] + np.cumsum([len(document) for document in documents])
            ).tolist()
            ranges[language] = (first, len(boundaries) - 1)
        cut, counts = self._cut(sentences)
        write_ragged(folder, f"documents.{split}", cut, self.tokenizer.vocab_size)
        np.save(folder / f"documents.{split}.documents.npy", np.array(boundaries, np.int64))
        return {"documents": len(boundaries) - 1, **counts, "languages": ranges}

    def write_pairs(self, folder: Path, split: str, languages: tuple[str, str]) -> dict[str, Any]:
        """The pair shard of a split; its entry in the index,
        which names the rows whose targets were cut.
        """
        entry: dict[str, Any] = {}
        encoders = (self.tokenizer.encode, self.tokenizer.encode_targets)
        for side, language, encode in zip(("source", "target"), languages, encoders, strict=True):
            path = pair_file(CORPUS, split, language)
            texts = read_lines(path)
            whole = self._within_limit(path, texts, range(1, len(texts) + 1), encode(texts))
            rows, entry[side] = self._cut(whole)
            write_ragged(folder, f"pairs.{split}.{side}", rows, self.tokenizer.vocab_size)
            if side == "target" and entry[side]["cut"]:
                entry[side]["cut_rows"] = [
                    number for number, row in enumerate(whole) if row != rows[number]
                ]
        return entry

    def _within_limit(
        self, path: Path, sentences: list[str], places: Sequence[int], rows: list[list[int]]
    ) -> list[list[int]]:
        """The rows, if all may stand; ``places`` are the sentences' lines in the file."""
        limit = self._params.max_sentence_tokens
        for row, sentence, line in zip(rows, sentences, places, strict=True):
            if len(row) > limit and self._params.too_long == "refuse":
                rule = f"not exceed shards.max_sentence_tokens ({limit})"
                remedy = "raise it, shorten the sentence, or set shards.too_long: cut"
                raise DataError(
                    broken_rule(
                        f"{path}:{line}", f"tokens of {sentence[:60]!r}", len(row), rule, remedy
                    )
                )
        return rows

    def _cut(self, rows: list[list[int]]) -> tuple[list[list[int]], dict[str, int]]:
        """Rows of at most the allowed length, and what they count."""
        limit = self._params.max_sentence_tokens
        kept = [row[:limit] for row in rows]
        return kept, {
            "sentences": len(kept),
            "tokens": sum(map(len, kept)),
            "longest": max(map(len, kept), default=0),
            "cut": sum(len(row) > limit for row in rows),
            "unknown": sum(row.count(UNK) for row in kept),
        }


if __name__ == "__main__":
    sys.exit(run_stage(declare, write))
