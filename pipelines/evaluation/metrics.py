"""BLEU and chrF by sacrebleu, with signatures, intervals and the paired bootstrap (Koehn 2004)."""

from collections.abc import Sequence
from typing import Any

from sacrebleu.metrics import BLEU, CHRF
from sacrebleu.metrics.base import Metric
from sacrebleu.significance import PairedTest


def scores(hypotheses: Sequence[str], references: Sequence[str], num_resamples: int) -> dict[str, Any]:
    """BLEU, chrF (0 … 100, with half the width of their 95 % intervals and signatures) and exact matches (0 … 1).

    Raises:
        ValueError: there is not one hypothesis for each reference.
    """
    exact = sum(ours == theirs for ours, theirs in zip(hypotheses, references, strict=True))
    result: dict[str, Any] = {}
    for name, metric in _metrics().items():
        # References go in as [reference set][sentence].
        score = metric.corpus_score(list(hypotheses), [list(references)], n_bootstrap=num_resamples)
        result[name] = round(score.score, 4)
        result[f"{name}_interval"] = round(float(score._ci), 4)
        result[f"{name}_signature"] = str(metric.get_signature())
    return {**result, "exact_match": round(exact / len(references), 4)}


def compare(
    system: Sequence[str], baseline: Sequence[str], references: Sequence[str], num_resamples: int
) -> dict[str, dict[str, float]]:
    """Metric → difference (system − baseline, in points) and p-value of the paired bootstrap."""
    named = [("baseline", list(baseline)), ("system", list(system))]
    test = PairedTest(named, _metrics(), [list(references)], test_type="bs", n_samples=num_resamples)
    _, results = test()
    comparison = {}
    for name, (base, other) in (
        (name.lower().removesuffix("2"), pair) for name, pair in results.items() if name != "System"
    ):
        difference, p_value = float(other.score - base.score), float(other.p_value)
        comparison[name] = {"difference": round(difference, 4), "p_value": round(p_value, 4)}
    return comparison


def _metrics() -> dict[str, Metric]:
    return {"bleu": BLEU(), "chrf": CHRF()}
