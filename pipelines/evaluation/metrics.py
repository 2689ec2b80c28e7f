"""BLEU and chrF by sacrebleu, with signatures, intervals and the paired bootstrap (Koehn 2004)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from unicodedata import category, normalize

from sacrebleu.metrics.base import Metric
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.significance import PairedTest, Result

_THEIR_NAMES = {"bleu": "BLEU", "chrf": "chrF2"}


@dataclass(frozen=True)
class Folding:
    """What is done to hypotheses and references before they are compared."""

    lowercase: bool = False
    strip_accents: bool = False

    def __call__(self, lines: Sequence[str]) -> list[str]:
        """Folded lines; accents are stripped as BERT does it: decomposed (NFD), combining marks dropped."""
        folded = [line.lower() for line in lines] if self.lowercase else list(lines)
        if not self.strip_accents:
            return folded
        return ["".join(char for char in normalize("NFD", line) if category(char) != "Mn") for line in folded]


AS_IT_IS = Folding()


def scores(
    hypotheses: Sequence[str], references: Sequence[str], num_resamples: int, folding: Folding = AS_IT_IS
) -> dict[str, Any]:
    """BLEU, chrF (0 … 100, with half the width of their 95 % intervals and signatures) and exact matches (0 … 1).

    Raises:
        ValueError: there is not one hypothesis for each reference.
    """
    ours, theirs = folding(hypotheses), folding(references)
    exact = sum(one == other for one, other in zip(ours, theirs, strict=True))
    result: dict[str, Any] = {}
    for name, (signature, (measured,)) in _resampled([ours], theirs, num_resamples, folding).items():
        assert measured.ci is not None
        result[name] = round(float(measured.score), 4)
        result[f"{name}_interval"] = round(float(measured.ci), 4)
        result[f"{name}_signature"] = signature + "|accents:no" * folding.strip_accents
    return {**result, "exact_match": round(exact / len(theirs), 4)}


def compare(
    system: Sequence[str],
    baseline: Sequence[str],
    references: Sequence[str],
    num_resamples: int,
    folding: Folding = AS_IT_IS,
) -> dict[str, dict[str, float]]:
    """Metric → difference (system − baseline, in points) and p-value of the paired bootstrap.

    Two systems that answer alike have p = 1; sacrebleu, which counts resamples strictly beyond the difference,
    would call them significantly different.
    """
    ours, theirs = folding(system), folding(baseline)
    if ours == theirs:
        return {name: {"difference": 0.0, "p_value": 1.0} for name in _THEIR_NAMES}
    comparison = {}
    for name, (_, (base, other)) in _resampled([theirs, ours], folding(references), num_resamples, folding).items():
        assert other.p_value is not None
        difference = float(other.score - base.score)
        comparison[name] = {"difference": round(difference, 4), "p_value": round(float(other.p_value), 4)}
    return comparison


def _resampled(
    systems: Sequence[Sequence[str]], references: Sequence[str], num_resamples: int, folding: Folding
) -> dict[str, tuple[str, list[Result]]]:
    """Metric → signature and one result per system, the first being the baseline of the others.

    By sacrebleu's paired test even for one system: its other way to an interval fails on translations so poor
    that some resamples score exactly 0 (sacrebleu 2.6 under numpy 2).
    """
    named: list[tuple[str, Sequence[str]]] = [(str(number), list(lines)) for number, lines in enumerate(systems)]
    lowercase = folding.lowercase  # for the signature: the lines are lower-cased already
    metrics: dict[str, Metric] = {"bleu": BLEU(lowercase=lowercase), "chrf": CHRF(lowercase=lowercase)}
    # References go in as [reference set][sentence].
    test = PairedTest(named, metrics, [list(references)], test_type="bs", n_samples=num_resamples)
    signatures, columns = test()
    return {
        ours: (str(signatures[theirs]), [result for result in columns[theirs] if isinstance(result, Result)])
        for ours, theirs in _THEIR_NAMES.items()
    }
