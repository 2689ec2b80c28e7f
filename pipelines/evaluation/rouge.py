"""ROUGE (Lin 2004) by rouge-score, in every script."""

import unicodedata
from collections.abc import Sequence
from statistics import fmean

from rouge_score.rouge_scorer import RougeScorer
from rouge_score.tokenizers import Tokenizer

from pipelines.formats.text import JOINERS, spaced

_KINDS = ("rouge1", "rouge2", "rougeL")


class RougeWords(Tokenizer):  # type: ignore[misc]
    """Words in every script: runs of letters, digits and marks, lower-cased;
    letters where no spaces are written.

    In plain English these are the words of Google's rouge-score, which knows a to z and 0 to 9
    alone.
    """

    def tokenize(self, text: str) -> list[str]:
        """The words of a text, as ROUGE shall count them."""
        visible = (char if _is_of_a_word(char) else " " for char in spaced(text.lower()))
        return "".join(visible).split()


def _is_of_a_word(char: str) -> bool:
    return unicodedata.category(char)[0] in "LMN" or char in JOINERS


def rouge(hypotheses: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """F1 of ROUGE-1, 2 and L, 0 to 100: means over sentences."""
    scorer = RougeScorer(list(_KINDS), tokenizer=RougeWords())
    measured = [
        scorer.score(theirs, ours) for ours, theirs in zip(hypotheses, references, strict=True)
    ]
    return {
        name: round(100 * fmean(scored[name].fmeasure for scored in measured), 4) for name in _KINDS
    }
