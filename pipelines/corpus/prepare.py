"""Stage ``corpus``: raw text → documents, sentence pairs, splits,
and a report of what was dropped.
"""

import json
import sys
from itertools import count
from pathlib import Path
from typing import Any, assert_never

from pipelines.corpus.assembling import read_corpus
from pipelines.corpus.embedded import Pair, write_document
from pipelines.corpus.lexicon import Lexicon, read_lexicon
from pipelines.corpus.params import CorpusParams, EmbeddedReader, FilesReader, SourcesReader
from pipelines.corpus.passages import content_key
from pipelines.formats.corpus.files import Corpus
from pipelines.frame.files import write_json, write_whole
from pipelines.frame.params_reader import ParamsFile, Seed, validate
from pipelines.frame.stage import Metrics, Stage, StageRun, run_stage

HELD_OUT = ("valid", "test")


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
        case FilesReader() | SourcesReader():
            corpus = read_corpus(params, params.reader)
        case _:
            assert_never(params.reader)
    corpus.check()
    corpus.write(run.work)
    report = corpus.report()
    run.say(_made(corpus) + displaced(corpus, run.folder.path.parent / "held_out.json"))
    leaked = {name: one["leaked"] for name, one in (corpus.sources or {}).items() if one["leaked"]}
    if leaked:
        found = ", ".join(f"{count:,} of {name}" for name, count in leaked.items())
        run.warn(
            f"training text must not have validation or test text, but some does ({found}); it is "
            "left as it was given; reader.kind: sources takes it out"
        )
    write_json(run.work / "report.json", report)
    return {"corpus": _figures(report)}


def _made(corpus: Corpus) -> str:
    """``1,488 training pairs, …; dropped: web: length 12, duplicates 3; news: empty 1``."""
    pairs = {split: len(corpus.pairs[split]) for split in ("train", "valid", "test")}
    sizes = ", ".join(
        f"{len(corpus.documents['train', language]):,} {language}" for language in corpus.languages
    )
    dropped = []
    for name, account in (corpus.sources or {}).items():
        counts = [f"{reason} {one['count']:,}" for reason, one in account["dropped"].items()]
        dropped += [f"{name}: {', '.join(counts)}"] if counts else []
    return (
        f"{pairs['train']:,} training pairs, {pairs['valid']:,} for validation, "
        f"{pairs['test']:,} to test; {sizes} documents; dropped: {'; '.join(dropped) or 'nothing'}"
    )


def displaced(corpus: Corpus, path: Path) -> str:
    """What other text has taken the place of since the last run, whose held-out pairs stand in a
    file beside the run's folder; an empty string if that is nothing. Scores before and after are of
    different test sets then.

    Args:
        corpus: as it is now.
        path: of the file, which is written anew.
    """
    now = {split: [content_key(one) for one, _ in corpus.pairs[split]] for split in HELD_OUT}
    before = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    gone = {split: len(set(before.get(split, ())) - set(now[split])) for split in HELD_OUT}
    write_whole(path, now)
    return "".join(
        f"; {count:,} of the {len(before[split]):,} {split} pairs of the last run were displaced"
        for split, count in gone.items()
        if count
    )


def _figures(report: dict[str, Any]) -> dict[str, Any]:
    """The report without samples and lengths, which are no metrics."""
    if "sources" not in report:
        return report
    sources = {
        name: {
            "read": account["read"],
            "kept": sum(account["kept"].values()),
            "dropped": {reason: one["count"] for reason, one in account["dropped"].items()},
        }
        for name, account in report["sources"].items()
    }
    return {**report, "sources": sources}


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
