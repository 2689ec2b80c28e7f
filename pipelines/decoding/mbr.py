"""Minimum Bayes risk: of many hypotheses the one that is most like all of them
(Eikema & Aziz 2020).
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

from sacrebleu.metrics.chrf import CHRF

from pipelines.decoding.options import Hypothesis


def most_like_the_others(
    group: Sequence[Hypothesis], texts: Sequence[str], *, uniform: bool
) -> list[Hypothesis]:
    """Hypotheses of a sentence, the least risk first; ``uniform`` for samples,
    else they weigh as their probability.
    """
    most = max(hypothesis.log_probability for hypothesis in group)
    weights = [
        1.0 if uniform else math.exp(hypothesis.log_probability - most) for hypothesis in group
    ]
    utilities = expected_utilities(texts, weights)
    order = sorted(range(len(group)), key=lambda place: (-utilities[place], place))
    return [replace(group[place], utility=utilities[place]) for place in order]


def expected_utilities(texts: Sequence[str], weights: Sequence[float]) -> list[float]:
    """Mean chrF (0 … 100) of each text against all as references, each with its weight.

    Raises:
        ValueError: there is not one weight for each text, or no text.
    """
    if not texts:
        raise ValueError("mbr: number of texts (0) must be at least 1")
    metric = CHRF()

    @cache
    def utility(text: str, reference: str) -> float:
        return float(metric.sentence_score(text, [reference]).score)

    total = sum(weights)
    pairs = list(zip(texts, weights, strict=True))
    return [sum(weight * utility(text, other) for other, weight in pairs) / total for text in texts]
