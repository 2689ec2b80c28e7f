"""From sources to a corpus: read, clean, split, take out leaks, write as often as weights say."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from pipelines.corpus.cleaning import clean
from pipelines.corpus.filters.base import Passage
from pipelines.corpus.inspecting import checked
from pipelines.corpus.leaks import Leaks
from pipelines.corpus.ledger import Account, Ledger
from pipelines.corpus.params import AnyTextReader, CorpusParams, SourcesReader
from pipelines.corpus.passages import Document, Pair
from pipelines.corpus.restoring import bare
from pipelines.corpus.sources.reading import Reader
from pipelines.corpus.splits import Size, copies_of, hold_out
from pipelines.formats.corpus.files import (
    DOCUMENT_SPLITS,
    PAIR_SPLITS,
    Corpus,
    DocumentList,
    document_file,
    pair_file,
)
from pipelines.frame.errors import DataError

LEAKED, WEIGHT = "held_out_text", "weight"
MADE = "made of documents"  # the account of such pairs; no source has a name with spaces
_HERE = Path()
_BLOCK = 10  # sentences of a document that is made of pairs


def read_corpus(params: CorpusParams, reader: AnyTextReader) -> Corpus:
    """Read all sources of a reader and make a corpus of them.

    Raises:
        DataError: see `checked`, `clean`.
    """
    reading = Reader(Path(params.raw), params.languages)
    passages = list(checked(reading, params, reader))
    ledger = reading.ledger
    passages = clean(passages, reader.filters, ledger)
    if isinstance(reader, SourcesReader):
        _draw(passages, reader)
        passages = _without_leaks(passages, ledger)
    else:
        _count_leaks(passages, ledger)
    corpus = Corpus(params.languages, {}, {}, changed=reading.changed)
    weights = {name: source.weight for name, source in reader.sources.items()}
    written = _weighted(passages, weights, ledger)
    _fill(corpus, written)
    _note_origins(corpus, written)
    if isinstance(reader, SourcesReader) and reader.make == "pairs":
        _make_pairs(corpus, written, ledger)
    if isinstance(reader, SourcesReader) and reader.make == "documents":
        _make_documents(corpus)
    corpus.sources = ledger.report()
    return corpus


def _draw(passages: Sequence[Passage], reader: SourcesReader) -> None:
    """Give every passage its split. Test text first, then validation text of the rest."""
    of_pairs = {"test": reader.splits.pairs.test, "valid": reader.splits.pairs.valid}
    of_documents: dict[str, Size] = {"valid": reader.splits.documents.valid}
    if reader.make == "pairs":
        of_documents = {"test": reader.splits.pairs.test, **of_documents}
    _draw_among([one for one in passages if isinstance(one, Pair)], of_pairs)
    documents = [one for one in passages if isinstance(one, Document)]
    for language in dict.fromkeys(one.language for one in documents):
        _draw_among([one for one in documents if one.language == language], of_documents)


def _draw_among(passages: Sequence[Passage], sizes: Mapping[str, Size]) -> None:
    rest = drawn = [one for one in passages if not one.split]
    for split, size in sizes.items():
        for place in hold_out(rest, split, size):
            rest[place].split = split
        rest = [one for one in rest if not one.split]
    for one in rest:
        one.split = "train"
    if drawn and not any(one.split == "train" for one in passages):
        kind = "pairs" if isinstance(drawn[0], Pair) else "documents"
        asked = ", ".join(f"{split} {size}" for split, size in sizes.items())
        raise DataError(
            f"params.yaml: corpus.reader.splits ({asked}) must leave training text, but there are "
            f"{len(drawn):,} {kind} in all; lower them, or give shares such as 0.05"
        )


def _without_leaks(passages: list[Passage], ledger: Ledger) -> list[Passage]:
    """Training text without what validation and test text have."""
    leaked_pairs: set[int] = set()  # by identity, for equal pairs are several
    for passage, place in _leaks(passages):
        ledger.drop(LEAKED, passage, place)
        if isinstance(passage, Document):
            passage.sentences[place] = None
        else:
            leaked_pairs.add(id(passage))
    return [one for one in passages if id(one) not in leaked_pairs and not _is_empty(one)]


def _count_leaks(passages: list[Passage], ledger: Ledger) -> None:
    """Of text whose splits were given nothing is taken out; the stage warns of what is counted."""
    for passage, _ in _leaks(passages):
        ledger.accounts[passage.source].leaked += 1


def _leaks(passages: list[Passage]) -> Iterator[tuple[Passage, int]]:
    """Training pairs, and places in training documents, that held-out text has too."""
    leaks = Leaks(one for one in passages if one.split != "train")
    for passage in passages:
        if passage.split != "train":
            continue
        if isinstance(passage, Pair):
            if leaks.pair(*passage.sides):
                yield passage, 0
            continue
        for place, sentence in enumerate(passage.sentences):
            if sentence is not None and leaks.sentence(sentence, passage.language):
                yield passage, place


def _is_empty(passage: Passage) -> bool:
    return isinstance(passage, Document) and not any(passage.sentences)


def _weighted(
    passages: list[Passage], weights: Mapping[str, float], ledger: Ledger
) -> list[Passage]:
    """Passages as often as they are written, further copies after all first ones; the accounts of
    what is kept.
    """
    times = [copies_of(one, weights[one.source]) if one.split == "train" else 1 for one in passages]
    for passage, number in zip(passages, times, strict=True):
        account = ledger.accounts[passage.source]
        if isinstance(passage, Pair):
            sentences = list(zip(ledger.languages, passage.sides, strict=True))
            units = 1
        else:
            sentences = [(passage.language, one) for one in passage.sentences if one is not None]
            units = len(sentences)
        if number:
            account.keep(passage.split, sentences, units, units * number)
        elif isinstance(passage, Pair):
            ledger.drop(WEIGHT, passage)
        else:
            for place, one in enumerate(passage.sentences):
                if one is not None:
                    ledger.drop(WEIGHT, passage, place)
    written: list[Passage] = []
    for round_ in range(max(times, default=0)):
        written += [one for one, number in zip(passages, times, strict=True) if number > round_]
    return written


def _fill(corpus: Corpus, passages: Sequence[Passage]) -> None:
    corpus.pairs.update({split: [] for split in PAIR_SPLITS})
    for split in DOCUMENT_SPLITS:
        for language in corpus.languages:
            corpus.documents[split, language] = []
    for passage in passages:
        if isinstance(passage, Pair):
            corpus.pairs[passage.split].append(passage.sides)
        elif passage.split != "test":
            corpus.documents[passage.split, passage.language] += passage.fragments()


def _note_origins(corpus: Corpus, passages: Sequence[Passage]) -> None:
    """Which sentence comes from which source, by file; nothing of what was made of others."""
    for passage in passages:
        if isinstance(passage, Pair):
            for language in corpus.languages:
                _note(corpus, pair_file(_HERE, passage.split, language), passage.source, 1)
        elif passage.split != "test":
            file = document_file(_HERE, passage.split, passage.language)
            _note(corpus, file, passage.source, sum(one is not None for one in passage.sentences))


def _note(corpus: Corpus, file: Path, source: str, count: int) -> None:
    runs = corpus.origins.setdefault(file.name, [])
    if runs and runs[-1][0] == source:
        runs[-1] = source, runs[-1][1] + count
    else:
        runs.append((source, count))


def _make_documents(corpus: Corpus) -> None:
    """Where a language has no documents in a split, those of its pairs, ten sides in each."""
    for side, language in enumerate(corpus.languages):
        for split in DOCUMENT_SPLITS:
            if not corpus.documents[split, language]:
                sides = [pair[side] for pair in corpus.pairs[split]]
                corpus.documents[split, language] = [
                    sides[start : start + _BLOCK] for start in range(0, len(sides), _BLOCK)
                ]


def _make_pairs(corpus: Corpus, passages: Sequence[Passage], ledger: Ledger) -> None:
    """Of each sentence in the target language a pair: in lower case without punctuation, as it was.

    Test and validation pairs come from documents of their own. A sentence that is nothing but
    punctuation makes none, nor one that has made one, nor one of the training text whose bare form
    a held-out pair has; all of them are in an account of their own.
    """
    source, target = corpus.languages
    account = ledger.accounts[MADE] = Account("pairs")
    held_out: set[str] = set()
    documents = list({id(one): one for one in passages if isinstance(one, Document)}.values())
    for split in ("test", "valid", "train"):
        pairs: dict[tuple[str, str], None] = {}
        for where, sentence in _placed(documents, split):
            account.read += 1
            pair = bare(sentence), sentence
            if why := _why_no_pair(pair, pairs, held_out):
                account.drop(why, where, sentence)
            else:
                pairs[pair] = None
                account.keep(split, zip(corpus.languages, pair, strict=True), 1, 1)
        corpus.pairs[split] = list(pairs)
        if split != "train":
            held_out |= {one for one, _ in pairs}
    for split in DOCUMENT_SPLITS:
        corpus.documents[split, source] = _bare_documents(corpus.documents[split, target])


def _placed(documents: Sequence[Document], split: str) -> Iterator[tuple[str, str]]:
    """The sentences of a split's documents, each with its file and line."""
    for document in documents:
        if document.split == split:
            for number, sentence in zip(document.numbers, document.sentences, strict=True):
                if sentence is not None:
                    yield f"{document.file}:{number}", sentence


def _why_no_pair(
    pair: tuple[str, str], pairs: Collection[tuple[str, str]], held_out: set[str]
) -> str:
    if not pair[0]:
        return "empty"
    if pair[0] in held_out:
        return LEAKED
    return "duplicates" if pair in pairs else ""


def _bare_documents(documents: DocumentList) -> DocumentList:
    found = [
        [without for sentence in document if (without := bare(sentence))] for document in documents
    ]
    return [document for document in found if document]
