"""BLEU and chrF by sacrebleu, with signatures, intervals and the paired bootstrap (Koehn 2004)."""

from collections.abc import Callable, Sequence
from typing import Any

from sacrebleu.metrics.base import Metric
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.significance import PairedTest, Result

_THEIR_NAMES = {"bleu": "BLEU", "chrf": "chrF2"}


def scores(
    hypotheses: Sequence[str], references: Sequence[str], num_resamples: int, *, lowercase: bool = False
) -> dict[str, Any]:
    """BLEU, chrF (0 … 100, with half the width of their 95 % intervals and signatures) and exact matches (0 … 1).

    ``lowercase`` makes all of them blind to case.

    Raises:
        ValueError: there is not one hypothesis for each reference.
    """
    folded: Callable[[str], str] = str.lower if lowercase else str
    exact = sum(folded(ours) == folded(theirs) for ours, theirs in zip(hypotheses, references, strict=True))
    result: dict[str, Any] = {}
    for name, (signature, (measured,)) in _resampled([hypotheses], references, num_resamples, lowercase).items():
        assert measured.ci is not None
        result[name] = round(float(measured.score), 4)
        result[f"{name}_interval"] = round(float(measured.ci), 4)
        result[f"{name}_signature"] = signature
    return {**result, "exact_match": round(exact / len(references), 4)}


def compare(
    system: Sequence[str],
    baseline: Sequence[str],
    references: Sequence[str],
    num_resamples: int,
    *,
    lowercase: bool = False,
) -> dict[str, dict[str, float]]:
    """Metric → difference (system − baseline, in points) and p-value of the paired bootstrap.

    Two systems that answer alike have p = 1; sacrebleu, which counts resamples strictly beyond the difference,
    would call them significantly different.
    """
    if list(system) == list(baseline):
        return {name: {"difference": 0.0, "p_value": 1.0} for name in _THEIR_NAMES}
    comparison = {}
    for name, (_, (base, other)) in _resampled([baseline, system], references, num_resamples, lowercase).items():
        assert other.p_value is not None
        difference = float(other.score - base.score)
        comparison[name] = {"difference": round(difference, 4), "p_value": round(float(other.p_value), 4)}
    return comparison


def _resampled(
    systems: Sequence[Sequence[str]], references: Sequence[str], num_resamples: int, lowercase: bool
) -> dict[str, tuple[str, list[Result]]]:
    """Metric → signature and one result per system, the first being the baseline of the others.

    By sacrebleu's paired test even for one system: its other way to an interval fails on translations so poor
    that some resamples score exactly 0 (sacrebleu 2.6 under numpy 2).
    """
    named: list[tuple[str, Sequence[str]]] = [(str(number), list(lines)) for number, lines in enumerate(systems)]
    # References go in as [reference set][sentence].
    metrics: dict[str, Metric] = {"bleu": BLEU(lowercase=lowercase), "chrf": CHRF(lowercase=lowercase)}
    test = PairedTest(named, metrics, [list(references)], test_type="bs", n_samples=num_resamples)
    signatures, columns = test()
    return {
        ours: (str(signatures[theirs]), [result for result in columns[theirs] if isinstance(result, Result)])
        for ours, theirs in _THEIR_NAMES.items()
    }
