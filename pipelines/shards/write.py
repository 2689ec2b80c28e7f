"""Stage ``shards``: corpus + tokenizer → memory-mapped token arrays."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.corpus.corpus import DOCUMENT_SPLITS, PAIR_SPLITS, document_file, pair_file, read_documents, read_lines
from pipelines.errors import DataError, broken_rule
from pipelines.records import write_json
from pipelines.runfolder import sha256_of
from pipelines.sections import Document
from pipelines.shards.format import INDEX_FILE, write_ragged
from pipelines.shards.params import ShardsParams
from pipelines.stage import Metrics, Stage, StageRun, run_stage
from pipelines.tokenizer.tokenizer import TOKENIZER_FILE, WordPieceTokenizer

CORPUS, TOKENIZER = Path("data/corpus"), Path("data/tokenizer")


def declare(document: Document) -> Stage:
    """Reads all text and the tokenizer."""
    sections = {"corpus.source_language": str, "corpus.target_language": str, "shards": ShardsParams}
    return Stage("shards", "pipelines.shards.write", sections, (CORPUS, TOKENIZER))


def write(run: StageRun) -> Metrics:
    """Encode documents and pairs into ``run.work``.

    Raises:
        DataError: a sentence is too long, and ``too_long`` is ``refuse``.
    """
    languages = run.section("corpus.source_language", str), run.section("corpus.target_language", str)
    writer = ShardWriter(WordPieceTokenizer.load(TOKENIZER), run.section("shards", ShardsParams))
    index: dict[str, Any] = {
        "vocab_size": writer.tokenizer.vocab_size,
        "dtype": "uint16",
        "languages": list(languages),
        "tokenizer": sha256_of(TOKENIZER / TOKENIZER_FILE),
        "documents": {split: writer.write_documents(run.work, split, languages) for split in DOCUMENT_SPLITS},
        "pairs": {split: writer.write_pairs(run.work, split, languages) for split in PAIR_SPLITS},
    }
    write_json(run.work / INDEX_FILE, index)
    return {"shards": {"documents": index["documents"], "pairs": index["pairs"]}}


class ShardWriter:
    """Encodes sentences; cuts and counts those that are too long, or refuses them."""

    def __init__(self, tokenizer: WordPieceTokenizer, params: ShardsParams) -> None:
        self.tokenizer = tokenizer
        self._params = params

    def write_documents(self, folder: Path, split: str, languages: tuple[str, str]) -> dict[str, Any]:
        """The document shard of a split; its entry in the index."""
        sentences: list[list[int]] = []
        boundaries = [0]
        ranges: dict[str, tuple[int, int]] = {}
        for language in languages:
            documents = read_documents(CORPUS, split, language)
            first = len(boundaries) - 1
            texts = [sentence for document in documents for sentence in document]
            blanks = [number for number, document in enumerate(documents) for _ in document]  # lines between documents
            places = [row + before + 1 for row, before in enumerate(blanks)]
            sentences += self._encode(document_file(CORPUS, split, language), texts, places)
            boundaries += (boundaries[-1] + np.cumsum([len(document) for document in documents])).tolist()
            ranges[language] = (first, len(boundaries) - 1)
        cut, num_cut = self._cut(sentences)
        write_ragged(folder, f"documents.{split}", cut)
        np.save(folder / f"documents.{split}.documents.npy", np.array(boundaries, np.int64))
        counts = {"documents": len(boundaries) - 1, "sentences": len(cut), "tokens": sum(map(len, cut)), "cut": num_cut}
        return {**counts, "languages": ranges}

    def write_pairs(self, folder: Path, split: str, languages: tuple[str, str]) -> dict[str, Any]:
        """The pair shard of a split; its entry in the index."""
        entry: dict[str, Any] = {}
        for side, language in zip(("source", "target"), languages, strict=True):
            path = pair_file(CORPUS, split, language)
            texts = read_lines(path)
            rows, num_cut = self._cut(self._encode(path, texts, range(1, len(texts) + 1)))
            write_ragged(folder, f"pairs.{split}.{side}", rows)
            longest = max(map(len, rows))
            entry[side] = {"sentences": len(rows), "tokens": sum(map(len, rows)), "longest": longest, "cut": num_cut}
        return entry

    def _encode(self, path: Path, sentences: list[str], places: Sequence[int]) -> list[list[int]]:
        """Token ids; ``places`` are the sentences' lines in the file."""
        rows, limit = self.tokenizer.encode(sentences), self._params.max_sentence_tokens
        for row, sentence, line in zip(rows, sentences, places, strict=True):
            if len(row) > limit and self._params.too_long == "refuse":
                rule = f"not exceed shards.max_sentence_tokens ({limit})"
                remedy = "raise it, shorten the sentence, or set shards.too_long: cut"
                raise DataError(broken_rule(f"{path}:{line}", f"tokens of {sentence[:60]!r}", len(row), rule, remedy))
        return rows

    def _cut(self, rows: list[list[int]]) -> tuple[list[list[int]], int]:
        """Rows of at most the allowed length, and how many were longer."""
        limit = self._params.max_sentence_tokens
        return [row[:limit] for row in rows], sum(len(row) > limit for row in rows)


if __name__ == "__main__":
    sys.exit(run_stage(declare, write))
