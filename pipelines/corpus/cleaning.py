"""Applying the list of filters: what each drops is counted, and document bounds survive."""

from collections.abc import Sequence

from pipelines.corpus.filters import AnyFilter
from pipelines.corpus.filters.base import Filter, Judge, Passage
from pipelines.corpus.ledger import Ledger
from pipelines.corpus.passages import Document, Pair
from pipelines.frame.errors import DataError


def clean(passages: list[Passage], filters: Sequence[AnyFilter], ledger: Ledger) -> list[Passage]:
    """What the filters keep, in order. Test text that was given as such is never touched.

    A sentence that is dropped leaves a gap in its document, so that those beside it are no
    neighbours (`Document.fragments`); a side that is dropped drops its pair. What is in one split
    is judged apart from what is in another.

    Args:
        passages: all that was read.
        filters: of ``params.yaml``, in this order.
        ledger: counts what is dropped under the filter's name.

    Raises:
        DataError: a filter dropped all documents or all pairs.
    """
    for place, each in enumerate(filters):
        before = {kind: _count(passages, kind) for kind in (Document, Pair)}
        kept: list[Passage] = []
        for split in dict.fromkeys(passage.split for passage in passages):
            group = [passage for passage in passages if passage.split == split]
            kept += group if split == "test" else apply(each, group, ledger)
        for kind, count in before.items():
            if count and not _count(kept, kind):
                _refuse(each, place, "documents" if kind is Document else "pairs", ledger)
        passages = kept
    return passages


def apply(each: Filter, passages: list[Passage], ledger: Ledger) -> list[Passage]:
    """What one filter keeps."""
    judged = [passage for passage in passages if _applies(each, passage)]
    judge = each.begin(judged)
    name = each.name  # type: ignore[attr-defined]
    kept: list[Passage] = []
    for passage in passages:
        if not _applies(each, passage):
            kept.append(passage)
        elif isinstance(passage, Pair):
            if drops_pair(judge, passage.sides, ledger.languages):
                ledger.drop(name, passage)
            else:
                kept.append(passage)
        elif _clean_document(judge, passage, name, ledger):
            kept.append(passage)
    return kept


def drops_pair(judge: Judge, sides: tuple[str, str], languages: tuple[str, str]) -> bool:
    """Whether a judge drops a pair, for itself or for one of its sides."""
    return judge.pair(*sides) or any(map(judge.sentence, sides, languages))


def _clean_document(judge: Judge, document: Document, name: str, ledger: Ledger) -> bool:
    """Put gaps where the judge drops sentences; whether any are left."""
    places = [place for place, one in enumerate(document.sentences) if one is not None]
    sentences = [one for one in document.sentences if one is not None]
    if judge.document(sentences, document.language):
        verdicts = [True] * len(sentences)
    else:
        verdicts = judge.sentences(sentences, document.language)
    for place, dropped in zip(places, verdicts, strict=True):
        if dropped:
            ledger.drop(name, document, place)
            document.sentences[place] = None
    return not all(verdicts)


def _applies(each: Filter, passage: Passage) -> bool:
    kind = "pairs" if isinstance(passage, Pair) else "documents"
    return each.applies_to in ("all", kind)


def _count(passages: list[Passage], kind: type) -> int:
    return sum(isinstance(passage, kind) for passage in passages)


def _refuse(each: AnyFilter, place: int, what: str, ledger: Ledger) -> None:
    dropped = [
        account.dropped[each.name]
        for account in ledger.accounts.values()
        if each.name in account.dropped
    ]
    first = dropped[0].samples[0]
    raise DataError(
        f"params.yaml: corpus.reader.filters.{place} ({each.name}) must keep some {what}, but "
        f"dropped all, first {first['where']}: {first['text'][:60]!r}; loosen it: `python -m "
        f"pipelines.corpus.try {each.name}` shows what it drops"
    )
