"""The few numbers to compare runs by: one small file for ``dvc exp show`` and for sweeps.

Everything else that was measured, with intervals and signatures, stays in the stages' own
``metrics.json``.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.report.results import Results

QUALITY = ("bleu", "chrf")


def score_names(architectures: Sequence[str], ensembles: Sequence[str], nsp: str) -> list[str]:
    """Dotted names of all scores that params with these settings lead to.

    Args:
        architectures: their names.
        ensembles: their names.
        nsp: ``bert.segments.nsp``.
    """
    bert = ["mlm", "nsp"] if nsp != "none" else ["mlm"]
    searched = [*architectures, *ensembles]
    return [*bert, *(f"{metric}.{name}" for metric in QUALITY for name in searched)]


def scores(results: Results) -> dict[str, Any]:
    """The scores themselves, all in percent: accuracies of BERT on held-out documents, and
    BLEU and chrF of the beam's translations of the test set.
    """
    bert: Mapping[str, float] = results.bert
    return {
        task: round(100 * bert[f"valid_{task}_accuracy"], 2)
        for task in ("mlm", "nsp")
        if f"valid_{task}_accuracy" in bert
    } | {
        metric: {row.name: round(row.beam[metric], 2) for row in results.rows} for metric in QUALITY
    }
