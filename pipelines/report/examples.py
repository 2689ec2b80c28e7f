"""Where translations are good and bad: by the rarest word of the source, and sentence by sentence.

Scores of single sentences are chrF, which is defined for a few words; those of groups are the
corpus scores of the evaluation.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from difflib import SequenceMatcher
from typing import Any

import numpy as np
from sacrebleu.metrics.chrf import CHRF

from pipelines.formats.text_rules import pre_tokenizer

_GROUPS = 4
_EACH = 3  # sentences of each kind
_RESAMPLES, _SEED = 200, 12345


@dataclass(frozen=True)
class Example:
    """A test sentence in all versions.

    Attributes:
        row: its number in the test set, from 0.
        why: best, median or worst, of the system that leads; or first.
        source, reference: of the test set.
        chrf: system → chrF of its translation.
        translations: system → text.
    """

    row: int
    why: str
    source: str
    reference: str
    chrf: dict[str, float]
    translations: dict[str, str]


def sentence_scores(translations: Sequence[str], references: Sequence[str]) -> list[float]:
    """ChrF of each sentence, in percent."""
    metric = CHRF()
    return [
        metric.sentence_score(one, [other]).score
        for one, other in zip(translations, references, strict=True)
    ]


def chosen(
    sources: Sequence[str],
    references: Sequence[str],
    translations: Mapping[str, Sequence[str]],
    scores: Mapping[str, Sequence[float]],
    leading: str,
    first: int,
) -> list[Example]:
    """The first sentences, and the best, the middle and the worst of the system that leads.

    Args:
        sources: of the test set.
        references: likewise.
        translations: of each system.
        scores: of each system, see `sentence_scores`.
        leading: by whose scores they are chosen; equal ones in the order of the test set.
        first: how many of the first.
    """
    order = np.argsort(-np.array(scores[leading]), kind="stable").tolist()
    middle = max(0, len(order) // 2 - _EACH // 2)
    rows = {
        "first": list(range(min(first, len(order)))),
        "best": order[:_EACH],
        "median": order[middle : middle + _EACH],
        "worst": order[-_EACH:][::-1],
    }
    return [
        Example(
            row,
            why,
            sources[row],
            references[row],
            {name: round(found[row], 1) for name, found in scores.items()},
            {name: lines[row] for name, lines in translations.items()},
        )
        for why, numbers in rows.items()
        for row in numbers
    ]


def by_group(
    values: Sequence[int], scores: Mapping[str, Sequence[float]]
) -> dict[str, list[dict[str, float]]]:
    """System → quality by a number that each sentence has: its length, its rarest word.

    Sentences are parted into groups of about equal size; the interval is of 200 bootstrap
    resamples of the group's sentences, 95 %.

    Returns:
        Of each group ``fewest`` and ``most`` (of the number), ``sentences``, ``chrf`` (mean of the
        sentences), ``interval`` (half of it).
    """
    numbers = np.array(values)
    edges = np.unique(np.quantile(numbers, np.linspace(0, 1, _GROUPS + 1)[1:-1], method="lower"))
    group = np.searchsorted(edges, numbers, side="left")
    found: dict[str, list[dict[str, float]]] = {}
    for name, of_system in scores.items():
        points = np.array(of_system)
        rows = [np.flatnonzero(group == number) for number in range(len(edges) + 1)]
        found[name] = [
            {
                "fewest": int(numbers[one].min()),
                "most": int(numbers[one].max()),
                "sentences": len(one),
                "chrf": round(float(points[one].mean()), 2),
                "interval": round(_interval(points[one]), 2),
            }
            for one in rows
            if len(one)
        ]
    return found


def rarest_words(sources: Sequence[str], training: Sequence[str]) -> list[int]:
    """How often the rarest word of each source occurs in the training pairs."""
    counts = Counter(word for line in training for word in _words(line))
    return [min((counts[word] for word in _words(line)), default=0) for line in sources]


def _words(line: str) -> list[str]:
    """As the tokenizer parts them, in lower case."""
    return [word.lower() for word, _ in pre_tokenizer().pre_tokenize_str(line)]


def _interval(scores: np.ndarray[Any, np.dtype[np.float64]]) -> float:
    """Half the 95 % interval of a mean, by the bootstrap."""
    drawn = np.random.default_rng(_SEED).integers(0, len(scores), (_RESAMPLES, len(scores)))
    low, high = np.quantile(scores[drawn].mean(axis=1), [0.025, 0.975])
    return float(high - low) / 2


def marked(translation: str, reference: str) -> list[tuple[str, str]]:
    """The translation's words in runs: ``same`` as in the reference, ``other``, and what is
    ``missing`` of it.

    >>> marked("A cat sat", "A dog sat")
    [('same', 'A'), ('missing', 'dog'), ('other', 'cat'), ('same', 'sat')]
    """
    ours, theirs = translation.split(), reference.split()
    runs: list[tuple[str, str]] = []
    for kind, a, b, c, d in SequenceMatcher(None, theirs, ours, autojunk=False).get_opcodes():
        if kind == "equal":
            runs.append(("same", " ".join(ours[c:d])))
            continue
        if b > a:
            runs.append(("missing", " ".join(theirs[a:b])))
        if d > c:
            runs.append(("other", " ".join(ours[c:d])))
    return runs


def as_data(examples: Sequence[Example]) -> list[dict[str, Any]]:
    """For JSON."""
    return [asdict(one) for one in examples]
