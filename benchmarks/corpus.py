"""What reading and each filter cost: ``python -m benchmarks.corpus FILE.en FILE.de [DOCUMENTS]``.

MB of text per second on one core, each filter as `pipelines.corpus.try` begins with it, alone, on
the whole text; peers read or deduplicate the same lines. Near duplicates are planted: copies of a
tenth of the pairs with one word in forty exchanged.
"""

import argparse
import random
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.results import Row, write
from pipelines.corpus.cleaning import apply
from pipelines.corpus.comparing import words_of
from pipelines.corpus.filters.near_duplicates import NearDuplicates
from pipelines.corpus.leaks import Leaks
from pipelines.corpus.ledger import Account, Ledger
from pipelines.corpus.passages import Document, Pair
from pipelines.corpus.sources.opening import lines_of
from pipelines.corpus.trial import FILTERS, chosen
from pipelines.formats.text import Tally, normalise

_LANGUAGES = ("en", "de")
_SCRIPTS = {one: ["LATIN"] for one in _LANGUAGES}


def _seconds(act: Callable[[], object]) -> float:
    start = time.perf_counter()
    act()
    return time.perf_counter() - start


def _ledger() -> Ledger:
    return Ledger(_LANGUAGES, {"pairs": Account("pairs"), "documents": Account("documents")})


def _pairs(sides: Iterable[tuple[str, str]]) -> list[Any]:
    return [Pair("pairs", "", "file", number, side) for number, side in enumerate(sides, start=1)]


def _documents(lines: Sequence[str]) -> list[Any]:
    """Paragraphs of a WikiText file in documents of twenty."""
    texts = [normalise(line) for line in lines]
    texts = [text for text in texts if text]
    groups = [texts[start : start + 20] for start in range(0, len(texts), 20)]
    return [
        Document("documents", "", "en", "file", [*range(len(one))], list(one)) for one in groups
    ]


def _near(copy: str, stream: random.Random) -> str:
    words = copy.split()
    for place in stream.sample(range(len(words)), max(1, len(words) // 40)):
        words[place] = f"word{stream.randrange(10**9)}"
    return " ".join(words)


def _found(pairs: list[Any]) -> tuple[float, float]:
    """Of near duplicates of three hundred of three thousand texts: shares found, falsely found."""
    stream = random.Random(1)
    texts = [" ".join(pair.sides[0] for pair in pairs[n * 8 : n * 8 + 8]) for n in range(3000)]
    planted = [_near(text, stream) for text in texts[:300]]
    documents = _documents_of([*texts, *planted])
    each = chosen("near_duplicates", [], [], _SCRIPTS)
    assert isinstance(each, NearDuplicates)
    apply(each, documents, _ledger())
    dropped = [not any(one.sentences) for one in documents]
    false = sum(
        dropped[place]
        and not any(_jaccard(text, other) >= each.threshold for other in texts[:place])
        for place, text in enumerate(texts)
    )
    return sum(dropped[len(texts) :]) / len(planted), false / len(texts)


def _documents_of(texts: Sequence[str]) -> list[Any]:
    return [Document("documents", "", "en", "file", [1], [text]) for text in texts]


def _jaccard(one: str, other: str) -> float:
    first, second = (
        {tuple(words[at : at + 3]) for at in range(len(words) - 2)}
        for words in map(words_of, (one, other))
    )
    return len(first & second) / max(1, len(first | second))


def _row(case: str, ours: float, peer: str, theirs: float, goal: float = 0.0) -> Row:
    return Row(case, "%" if peer == "planted" else "MB/s", ours, peer, theirs, ours / theirs, goal)


def _costs(raw: list[tuple[str, str]], size: float, given: Path | None) -> dict[str, float]:
    """Filter → MB/s."""
    speeds = {}
    for name in FILTERS:
        each = chosen(name, [], [], _SCRIPTS)
        passages, amount = _pairs(raw), size
        if each.applies_to == "documents":
            if given is None:
                continue
            passages = _documents(list(lines_of(given)))
            amount = sum(len(text.encode()) for one in passages for text in one.sentences) / 1e6
        apply(each, passages[:50], _ledger())  # what is loaded once
        start = time.perf_counter()
        apply(each, passages, _ledger())
        speeds[name] = amount / (time.perf_counter() - start)
    return speeds


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sides", nargs=2, type=Path)
    parser.add_argument("documents", nargs="?", type=Path)
    given = parser.parse_args()
    one, other = map(lines_of, given.sides)
    raw = list(zip(one, other, strict=True))
    size = sum(len(side.encode()) for pair in raw for side in pair) / 1e6
    tally = Tally()
    reading = size / _seconds(lambda: [list(lines_of(path)) for path in given.sides])
    normal = size / _seconds(
        lambda: [normalise(side, tally.noting("x", side)) for pair in raw for side in pair]
    )
    rows = [
        _row("reading, unpacking", reading, "datasets", _datasets(given.sides, size)),
        _row("normalising", normal, "reading", reading),
    ]
    for name, speed in _costs(raw, size, given.documents).items():
        rows.append(_row(name, speed, "reading", reading))
    pairs = _pairs(raw)
    leaks = Leaks(pairs[:1000])
    leaking = size / _seconds(lambda: [leaks.pair(*pair.sides) for pair in pairs])
    rows.append(_row("held_out_text", leaking, "reading", reading))
    found, false = _found(pairs)
    rows.append(_row("near duplicates found", 100 * found, "planted", 100.0, 0.95))
    write("corpus", rows)
    print(f"falsely found: {100 * false:.2f} %")


def _datasets(paths: Sequence[Path], size: float) -> float:
    import datasets

    datasets.disable_progress_bars()

    def read() -> object:
        return [
            list(datasets.Dataset.from_text(str(path), keep_in_memory=True)["text"])
            for path in paths
        ]

    read()
    return size / _seconds(read)


if __name__ == "__main__":
    main()
