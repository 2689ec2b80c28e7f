"""BLEU and chrF by sacrebleu, with signatures, intervals and the paired bootstrap (Koehn 2004)."""

from collections.abc import Sequence
from typing import Any

from sacrebleu.metrics.base import Metric
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.significance import PairedTest, Result

_OUR_NAMES = {"BLEU": "bleu", "chrF2": "chrf"}


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
    """Metric → difference (system − baseline, in points) and p-value of the paired bootstrap.

    Two systems that answer alike have p = 1; sacrebleu, which counts resamples strictly beyond the difference,
    would call them significantly different.
    """
    if list(system) == list(baseline):
        return {name: {"difference": 0.0, "p_value": 1.0} for name in _metrics()}
    named: list[tuple[str, Sequence[str]]] = [("baseline", list(baseline)), ("system", list(system))]
    test = PairedTest(named, _metrics(), [list(references)], test_type="bs", n_samples=num_resamples)
    _, columns = test()
    comparison = {}
    for name, (base, other) in columns.items():
        if isinstance(base, Result) and isinstance(other, Result) and other.p_value is not None:
            difference = round(float(other.score - base.score), 4)
            comparison[_OUR_NAMES[name]] = {"difference": difference, "p_value": round(float(other.p_value), 4)}
    return comparison


def _metrics() -> dict[str, Metric]:
    return {"bleu": BLEU(), "chrf": CHRF()}
