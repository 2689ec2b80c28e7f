"""BLEU, chrF and TER by sacrebleu, ROUGE by rouge-score, with signatures, intervals and the paired bootstrap."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any
from unicodedata import category, normalize

from sacrebleu.metrics.base import Metric
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.metrics.ter import TER
from sacrebleu.significance import PairedTest, Result

_THEIR_NAMES = {"bleu": "BLEU", "chrf": "chrF2", "ter": "TER"}
_COMPARED = ("bleu", "chrf")
_ROUGE = ("rouge1", "rouge2", "rougeL")


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
    hypotheses: Sequence[str],
    references: Sequence[str],
    num_resamples: int,
    folding: Folding = AS_IT_IS,
    also: Sequence[str] = (),
) -> dict[str, Any]:
    """BLEU, chrF (0 … 100, with half the width of their 95 % intervals and signatures) and exact matches (0 … 1).

    Args:
        hypotheses: one for each reference.
        references: one for each sentence.
        num_resamples: of the bootstrap.
        folding: done to both.
        also: ``ter`` (0 is best), ``rouge``: F1 of ROUGE-1, 2 and L (Lin 2004), means over sentences.

    Raises:
        ValueError: there is not one hypothesis for each reference.
    """
    ours, theirs = folding(hypotheses), folding(references)
    exact = sum(one == other for one, other in zip(ours, theirs, strict=True))
    result: dict[str, Any] = {}
    names = ("bleu", "chrf", *(name for name in also if name in _THEIR_NAMES))
    for name, (signature, (measured,)) in _resampled([ours], theirs, num_resamples, folding, names).items():
        assert measured.ci is not None
        result[name] = round(float(measured.score), 4)
        result[f"{name}_interval"] = round(float(measured.ci), 4)
        result[f"{name}_signature"] = signature + "|accents:no" * folding.strip_accents
    if "rouge" in also:
        result |= _rouge(ours, theirs)
    return {**result, "exact_match": round(exact / len(theirs), 4)}


def plain_scores(hypotheses: Sequence[str], references: Sequence[str], folding: Folding = AS_IT_IS) -> dict[str, float]:
    """BLEU and chrF without intervals, and the ratio of lengths in BLEU's tokens."""
    ours, theirs = folding(hypotheses), [folding(references)]
    bleu = BLEU(lowercase=folding.lowercase).corpus_score(ours, theirs)
    chrf = CHRF(lowercase=folding.lowercase).corpus_score(ours, theirs)
    ratio = float(bleu.sys_len) / max(1, bleu.ref_len)
    return {"bleu": round(bleu.score, 4), "chrf": round(chrf.score, 4), "length_ratio": round(ratio, 4)}


def _rouge(hypotheses: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(list(_ROUGE), use_stemmer=False)
    measured = [scorer.score(theirs, ours) for ours, theirs in zip(hypotheses, references, strict=True)]
    return {name: round(100 * fmean(scored[name].fmeasure for scored in measured), 4) for name in _ROUGE}


def compare(
    system: Sequence[str],
    baseline: Sequence[str],
    references: Sequence[str],
    num_resamples: int,
    folding: Folding = AS_IT_IS,
) -> dict[str, dict[str, float]]:
    """Metric → difference (system − baseline, in points) and p-value of the paired bootstrap (Koehn 2004).

    Two systems that answer alike have p = 1; sacrebleu, which counts resamples strictly beyond the difference,
    would call them significantly different.
    """
    ours, theirs = folding(system), folding(baseline)
    if ours == theirs:
        return {name: {"difference": 0.0, "p_value": 1.0} for name in _COMPARED}
    comparison = {}
    both = _resampled([theirs, ours], folding(references), num_resamples, folding, _COMPARED)
    for name, (_, (base, other)) in both.items():
        assert other.p_value is not None
        difference = float(other.score - base.score)
        comparison[name] = {"difference": round(difference, 4), "p_value": round(float(other.p_value), 4)}
    return comparison


def _resampled(
    systems: Sequence[Sequence[str]], references: Sequence[str], num_resamples: int, folding: Folding, of: Sequence[str]
) -> dict[str, tuple[str, list[Result]]]:
    """Metric → signature and one result per system, the first being the baseline of the others.

    By sacrebleu's paired test even for one system: its other way to an interval fails on translations so poor
    that some resamples score exactly 0 (sacrebleu 2.6 under numpy 2).
    """
    named: list[tuple[str, Sequence[str]]] = [(str(number), list(lines)) for number, lines in enumerate(systems)]
    lowercase = folding.lowercase  # for the signature: the lines are lower-cased already
    known: dict[str, Metric] = {"bleu": BLEU(lowercase=lowercase), "chrf": CHRF(lowercase=lowercase), "ter": TER()}
    metrics = {name: known[name] for name in of}
    # References go in as [reference set][sentence].
    test = PairedTest(named, metrics, [list(references)], test_type="bs", n_samples=num_resamples)
    signatures, columns = test()
    return {
        ours: (str(signatures[theirs]), [result for result in columns[theirs] if isinstance(result, Result)])
        for ours, theirs in _THEIR_NAMES.items()
        if ours in of
    }
