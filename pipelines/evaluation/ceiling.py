"""The detokenisation ceiling: what a perfect model would score,
for it can only write what its tokenizer can.
"""

from collections.abc import Sequence
from typing import Any

from pipelines.evaluation.metrics import Folding, plain_scores
from pipelines.formats.tokenizer.tokenizer import SubwordTokenizer, Unknown
from pipelines.formats.vocabulary.special_tokens import SPECIAL_TOKENS, UNK


def ceiling(
    tokenizer: SubwordTokenizer, references: Sequence[str], folding: Folding, folded_by: Folding
) -> dict[str, Any]:
    """Scores of decode(encode(references)) against the references,
    and what each kind of loss costs alone.

    Args:
        tokenizer: of the target side.
        references: as they stand in the corpus.
        folding: of the scores.
        folded_by: what the tokenizer does to case and accents.

    Returns:
        ``bleu`` and ``chrf``, 0 to 100, with the folding; ``unknown_words``, their number;
        ``lost``: kind → points of BLEU and chrf, without the folding: ``unknown`` (words that
        become [UNK]), ``case`` (and accents), ``spacing``.
    """
    plain = Folding(tokenizer=folding.tokenizer)
    unknown = tokenizer.unknown(references)
    decoded = [tokenizer.decode(ids) for ids in tokenizer.encode_targets(references)]
    without_unknown = _without(references, unknown, plain)
    folded = folded_by(references)
    scores = plain_scores(decoded, references, folding)
    return {
        "bleu": scores["bleu"],
        "chrf": scores["chrf"],
        "unknown_words": sum(map(len, unknown)),
        "lost": {
            "unknown": _lost(without_unknown, references, plain),
            "case": _lost(folded, references, plain),
            "spacing": _lost(decoded, _without(references, unknown, folded_by), plain),
        },
    }


def _lost(lines: Sequence[str], whole: Sequence[str], folding: Folding) -> dict[str, float]:
    """Points less than the whole text's own, which are 100,
    or 0 of BLEU where no sentence has four words.
    """
    best, scores = plain_scores(whole, whole, folding), plain_scores(lines, whole, folding)
    return {name: round(best[name] - scores[name], 4) for name in ("bleu", "chrf")}


def _without(
    lines: Sequence[str], unknown: Sequence[Sequence[Unknown]], folding: Folding
) -> list[str]:
    """Lines with [UNK] for unknown words, and the rest folded."""
    result = []
    for line, words in zip(lines, unknown, strict=True):
        edges = [0, *(edge for word in words for edge in (word.start, word.end)), len(line)]
        known = folding(
            [line[first:end] for first, end in zip(edges[::2], edges[1::2], strict=True)]
        )
        result.append(SPECIAL_TOKENS[UNK].join(known))
    return result
