"""Stage ``corpus``: raw text → documents, sentence pairs, splits,
and a report of what was dropped.
"""

import shutil
import sys
from itertools import count
from pathlib import Path
from typing import assert_never

from pipelines.corpus.embedded import Pair, write_document
from pipelines.corpus.lexicon import Lexicon, read_lexicon
from pipelines.corpus.params import CorpusParams, EmbeddedReader, FilesReader
from pipelines.corpus.text_files import read_corpus
from pipelines.formats.corpus.files import Corpus
from pipelines.frame.files import write_json
from pipelines.frame.params_reader import ParamsFile, Seed, validate
from pipelines.frame.stage import Metrics, Stage, StageRun, run_stage


def declare(params_file: ParamsFile) -> Stage:
    """The corpus depends on the raw folder its own section names."""
    raw = validate(params_file, "corpus", CorpusParams).raw
    return Stage(
        "corpus", "pipelines.corpus.prepare", {"seed": Seed, "corpus": CorpusParams}, (Path(raw),)
    )


def prepare(run: StageRun) -> Metrics:
    """Write the corpus into ``run.work``.

    Raises:
        DataError: see `read_corpus`, `read_lexicon`, `Corpus.check`.
    """
    params = run.section("corpus", CorpusParams)
    match params.reader:
        case EmbeddedReader():
            lexicon = read_lexicon(Path(params.raw))
            corpus = embedded_corpus(lexicon, run.seed, params.reader, params.languages)
        case FilesReader():
            cache = run.folder.path / "datasets"
            try:
                corpus = read_corpus(params, params.reader, cache)
            finally:
                shutil.rmtree(cache, ignore_errors=True)
        case _:
            assert_never(params.reader)
    corpus.check()
    corpus.write(run.work)
    run.say(_made(corpus))
    report = corpus.report()
    write_json(run.work / "report.json", report)
    return {"corpus": report}


def _made(corpus: Corpus) -> str:
    """``1,488 training pairs, …; dropped: train 9 × pair longer than 60 words, first a.en …``."""
    pairs = {split: len(corpus.pairs[split]) for split in ("train", "valid", "test")}
    sizes = ", ".join(
        f"{len(corpus.documents['train', language]):,} {language}" for language in corpus.languages
    )
    dropped = [f"{split} {tally}" for split, tally in corpus.dropped.items() if tally.total()]
    return (
        f"{pairs['train']:,} training pairs, {pairs['valid']:,} for validation, "
        f"{pairs['test']:,} to test; {sizes} documents; dropped: "
        f"{'; '.join(dropped) or 'nothing'}"
    )


def embedded_corpus(
    lexicon: Lexicon, seed: int, sizes: EmbeddedReader, languages: tuple[str, str]
) -> Corpus:
    """Documents and pairs of the embedded grammar.

    Pairs come from documents of their own. No test or validation sentence, in either language,
    occurs in a document or in a training pair.
    """
    documents = {
        split: [write_document(lexicon, seed, f"{split} documents", index) for index in range(size)]
        for split, size in (
            ("train", sizes.num_documents),
            ("valid", sizes.num_validation_documents),
        )
    }
    seen = {text for group in documents.values() for document in group for text in _texts(document)}
    pairs: dict[str, list[Pair]] = {}
    for split, size in (
        ("test", sizes.num_test_pairs),
        ("valid", sizes.num_validation_pairs),
        ("train", sizes.num_training_pairs),
    ):
        pairs[split] = _new_pairs(lexicon, seed, split, size, seen)
        seen |= _texts(pairs[split])
    sides = [{"en": "english", "de": "german"}[language] for language in languages]
    return Corpus(
        languages,
        {
            (split, language): [[getattr(pair, side) for pair in document] for document in group]
            for split, group in documents.items()
            for language, side in zip(languages, sides, strict=True)
        },
        {
            split: [(getattr(pair, sides[0]), getattr(pair, sides[1])) for pair in pairs[split]]
            for split in ("train", "valid", "test")
        },
    )


def _new_pairs(lexicon: Lexicon, seed: int, split: str, size: int, seen: set[str]) -> list[Pair]:
    """Two unseen sentences from each of as many documents as it takes."""
    pairs: dict[Pair, None] = {}  # each sentence once, in order
    documents = (write_document(lexicon, seed, f"{split} pairs", index) for index in count())
    while len(pairs) < size:
        fresh = [pair for pair in next(documents) if not _texts([pair]) & seen]
        pairs.update(dict.fromkeys(fresh[:2]))
    return list(pairs)[:size]


def _texts(pairs: list[Pair]) -> set[str]:
    return {text for pair in pairs for text in (pair.english, pair.german)}


if __name__ == "__main__":
    sys.exit(run_stage(declare, prepare))
