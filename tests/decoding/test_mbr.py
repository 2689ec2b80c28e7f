"""Minimum Bayes risk against chrF by hand."""

import pytest
from sacrebleu.metrics.chrf import CHRF

from pipelines.decoding.mbr import expected_utilities, most_like_the_others
from pipelines.decoding.options import Hypothesis

TEXTS = [
    "der hund bellt.",
    "der hund bellt laut.",
    "eine katze schläft.",
    "der hund bellt sehr laut.",
]


def _chrf(one: str, other: str) -> float:
    return CHRF().sentence_score(one, [other]).score


def test_expected_utilities_are_weighted_means_of_chrf():
    weights = [1.0, 2.0, 3.0, 0.5]
    found = expected_utilities(TEXTS, weights)
    for text, utility in zip(TEXTS, found, strict=True):
        expected = (
            sum(weight * _chrf(text, other) for weight, other in zip(weights, TEXTS, strict=True))
            / 6.5
        )
        assert utility == pytest.approx(expected)
    with pytest.raises(ValueError, match="at least 1"):
        expected_utilities([], [])


def test_the_one_most_like_the_others_comes_first_unless_another_is_far_likelier():
    group = [Hypothesis((number,), log_probability=0.0, score=0.0) for number in range(4)]
    mean = [sum(_chrf(text, other) for other in TEXTS) for text in TEXTS]
    likest = (mean.index(max(mean)),)
    assert likest != (2,)
    assert most_like_the_others(group, TEXTS, uniform=True)[0].tokens == likest
    cat = [Hypothesis((n,), log_probability=10.0 * (n == 2), score=0.0) for n in range(4)]
    assert most_like_the_others(cat, TEXTS, uniform=False)[0].tokens == (2,)
    assert most_like_the_others(cat, TEXTS, uniform=True)[0].tokens == likest
    utilities = [
        hypothesis.utility for hypothesis in most_like_the_others(group, TEXTS, uniform=True)
    ]
    assert utilities == sorted(utilities, reverse=True)
