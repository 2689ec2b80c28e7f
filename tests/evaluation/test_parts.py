"""Groups by length of the source."""

import pytest
from sacrebleu.metrics.bleu import BLEU

from pipelines.evaluation.metrics import Folding
from pipelines.evaluation.parts import by_length, length_groups

SOURCES = [" ".join(["x"] * length) for length in (1, 9, 2, 2, 3, 8, 2, 5, 4, 7, 2, 6)]


def test_groups_are_of_nearly_equal_size_and_keep_one_length_together():
    groups = length_groups(SOURCES, 3)
    assert [(group.shortest, group.longest) for group in groups] == [(1, 2), (3, 6), (7, 9)]
    assert sorted(row for group in groups for row in group.rows) == list(range(12))
    assert length_groups(SOURCES, 1)[0].rows == list(range(12))
    assert len(length_groups(["a b"] * 5, 4)) == 1


def test_scores_of_a_group_are_sacrebleus_of_its_sentences():
    references = [f"der Hund {number} bellt laut." for number in range(12)]
    hypotheses = [
        line.replace("laut", "leise") if number % 3 else line
        for number, line in enumerate(references)
    ]
    for part, group in zip(
        by_length(hypotheses, references, length_groups(SOURCES, 3)),
        length_groups(SOURCES, 3),
        strict=True,
    ):
        ours, theirs = ([lines[row] for row in group.rows] for lines in (hypotheses, references))
        assert part["bleu"] == pytest.approx(BLEU().corpus_score(ours, [theirs]).score, abs=1e-4)
        assert part["sentences"] == len(group.rows)
        assert part["length_ratio"] == 1.0
    upper = [line.upper() for line in references]
    folded = by_length(upper, references, length_groups(SOURCES, 1), Folding(lowercase=True))
    assert folded[0]["bleu"] == pytest.approx(100)
