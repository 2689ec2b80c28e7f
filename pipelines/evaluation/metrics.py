"""BLEU, chrF and TER by sacrebleu, ROUGE by rouge-score, with signatures,
intervals and the paired bootstrap.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean
from typing import Any

from sacrebleu.metrics.base import Metric
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.metrics.ter import TER
from sacrebleu.significance import PairedTest, Result

from pipelines.evaluation.params import BleuTokenizer
from pipelines.evaluation.words import splits_at_spaces
from pipelines.formats.text_rules import folded

_THEIR_NAMES = {"bleu": "BLEU", "chrf": "chrF2", "ter": "TER"}
_COMPARED = ("bleu", "chrf")
_NO_DIFFERENCE = 1e-9  # points, beyond rounding errors
_NGRAM = 4  # the longest that BLEU counts


@dataclass(frozen=True)
class Folding:
    """How hypotheses and references are made comparable.

    Attributes:
        lowercase, strip_accents: as the tokenizer folds text; the same function does it.
        tokenizer: BLEU's, and TER's where a script writes no spaces.
    """

    lowercase: bool = False
    strip_accents: bool = False
    tokenizer: BleuTokenizer = "13a"

    def __call__(self, lines: Sequence[str]) -> list[str]:
        """The lines with case and accents folded as the section says."""
        return folded(lines, lowercase=self.lowercase, strip_accents=self.strip_accents)

    def words(self, lines: Sequence[str]) -> list[list[str]]:
        """The words of each line as BLEU counts them."""
        return [self._bleu.tokenizer(line).split() for line in lines]

    @cached_property
    def _bleu(self) -> BLEU:
        return self.bleu()

    def bleu(self) -> BLEU:
        """The metric of sacrebleu with these settings."""
        # The lines are lower-cased already; this makes the signature say so.
        return BLEU(lowercase=self.lowercase, tokenize=self.tokenizer)


AS_IT_IS = Folding()


def scores(
    hypotheses: Sequence[str],
    references: Sequence[str],
    num_resamples: int,
    folding: Folding = AS_IT_IS,
    also: Sequence[str] = (),
) -> dict[str, Any]:
    """BLEU, chrF (0 … 100, with half the width of their 95 % intervals and
    signatures) and exact matches (0 … 1).

    Args:
        hypotheses: one for each reference.
        references: one for each sentence.
        num_resamples: of the bootstrap.
        folding: done to both.
        also: ``ter`` (0 is best), ``rouge``: F1 of ROUGE-1, 2 and L (Lin 2004), means over
            sentences.

    Raises:
        ValueError: there is not one hypothesis for each reference.
    """
    ours, theirs = folding(hypotheses), folding(references)
    exact = sum(one == other for one, other in zip(ours, theirs, strict=True))
    result: dict[str, Any] = {}
    found = _resampled([ours], theirs, num_resamples, folding, ("bleu", "chrf"))
    if "ter" in also:
        words = [_for_ter(lines, folding) for lines in (ours, theirs)]
        found |= _resampled(words[:1], words[1], num_resamples, folding, ("ter",))
    for name, (signature, (measured,)) in found.items():
        assert measured.ci is not None
        result[name] = round(float(measured.score), 4)
        result[f"{name}_interval"] = round(float(measured.ci), 4)
        result[f"{name}_signature"] = signature + _of_folding(name, folding)
    if "rouge" in also:
        from pipelines.evaluation.rouge import rouge

        result |= rouge(ours, theirs)
    return {**result, "exact_match": round(exact / len(theirs), 4)}


def _of_folding(metric: str, folding: Folding) -> str:
    """What sacrebleu's signature does not say."""
    said = "|accents:no" if folding.strip_accents else ""
    if metric == "ter" and not splits_at_spaces(folding.tokenizer):
        said = f"|words:{folding.tokenizer}{said}"
    return said


def _for_ter(lines: Sequence[str], folding: Folding) -> Sequence[str]:
    """Lines with spaces between words, where their script writes none:
    to TER a sentence would be one word.
    """
    if splits_at_spaces(folding.tokenizer):
        return lines
    return [" ".join(words) for words in folding.words(lines)]


def share_with_ngrams(references: Sequence[str], folding: Folding = AS_IT_IS) -> float:
    """The share of references that are long enough for BLEU: of four words or more."""
    return fmean(len(words) >= _NGRAM for words in folding.words(references))


def plain_scores(
    hypotheses: Sequence[str], references: Sequence[str], folding: Folding = AS_IT_IS
) -> dict[str, float]:
    """BLEU and chrF without intervals, and the ratio of lengths in BLEU's tokens."""
    ours, theirs = folding(hypotheses), [folding(references)]
    bleu = folding.bleu().corpus_score(ours, theirs)
    chrf = CHRF(lowercase=folding.lowercase).corpus_score(ours, theirs)
    ratio = float(bleu.sys_len) / max(1, bleu.ref_len)
    return {
        "bleu": round(bleu.score, 4),
        "chrf": round(chrf.score, 4),
        "length_ratio": round(ratio, 4),
    }


def compare(
    system: Sequence[str],
    baseline: Sequence[str],
    references: Sequence[str],
    num_resamples: int,
    folding: Folding = AS_IT_IS,
) -> dict[str, dict[str, float]]:
    """Metric → difference (system − baseline, in points) and p-value of the paired bootstrap
    (Koehn 2004).

    No difference has p = 1, and so has one sentence. sacrebleu counts resamples strictly beyond the
    difference, and would call two systems significantly different that answer alike or whose score
    is 0 for want of n-grams.
    """
    ours, theirs = folding(system), folding(baseline)
    comparison = {}
    both = _resampled([theirs, ours], folding(references), num_resamples, folding, _COMPARED)
    for name, (_, (base, other)) in both.items():
        assert other.p_value is not None
        difference = float(other.score - base.score)
        known = abs(difference) > _NO_DIFFERENCE and len(references) > 1
        p_value = float(other.p_value) if known else 1.0
        comparison[name] = {"difference": round(difference, 4), "p_value": round(p_value, 4)}
    return comparison


def _resampled(
    systems: Sequence[Sequence[str]],
    references: Sequence[str],
    num_resamples: int,
    folding: Folding,
    of: Sequence[str],
) -> dict[str, tuple[str, list[Result]]]:
    """Metric → signature and one result per system, the first being the baseline of the others.

    By sacrebleu's paired test even for one system: its other way to an interval fails on
    translations so poor that some resamples score exactly 0 (sacrebleu 2.6 under numpy 2).
    """
    named: list[tuple[str, Sequence[str]]] = [
        (str(number), list(lines)) for number, lines in enumerate(systems)
    ]
    known: dict[str, Metric] = {
        "bleu": folding.bleu(),
        "chrf": CHRF(lowercase=folding.lowercase),
        "ter": TER(),
    }
    metrics = {name: known[name] for name in of}
    # References go in as [reference set][sentence].
    test = PairedTest(named, metrics, [list(references)], test_type="bs", n_samples=num_resamples)
    signatures, columns = test()
    return {
        ours: (
            str(signatures[theirs]),
            [result for result in columns[theirs] if isinstance(result, Result)],
        )
        for ours, theirs in _THEIR_NAMES.items()
        if ours in of
    }
