"""Scores of parts of the test set, by length of the source."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.evaluation.metrics import AS_IT_IS, Folding, plain_scores
from pipelines.formats.text import num_words


@dataclass(frozen=True)
class LengthGroup:
    """Sentences whose sources have from ``shortest`` to ``longest`` words."""

    shortest: int
    longest: int
    rows: list[int]


def length_groups(sources: Sequence[str], count: int) -> list[LengthGroup]:
    """At most ``count`` groups of nearly equal size; sentences of one length stay together."""
    lengths = list(map(num_words, sources))
    ordered = sorted(range(len(sources)), key=lengths.__getitem__)
    groups: list[list[int]] = [[]]
    for row in ordered:
        full = len(groups[-1]) * count >= len(sources)
        if full and lengths[row] != lengths[groups[-1][-1]]:
            groups.append([])
        groups[-1].append(row)
    return [
        LengthGroup(lengths[rows[0]], lengths[rows[-1]], sorted(rows)) for rows in groups if rows
    ]


def by_length(
    hypotheses: Sequence[str],
    references: Sequence[str],
    groups: Sequence[LengthGroup],
    folding: Folding = AS_IT_IS,
) -> list[dict[str, Any]]:
    """BLEU, chrF and ratio of lengths of each group."""
    return [
        {
            "shortest": group.shortest,
            "longest": group.longest,
            "sentences": len(group.rows),
            **plain_scores(
                [hypotheses[row] for row in group.rows],
                [references[row] for row in group.rows],
                folding,
            ),
        }
        for group in groups
    ]
