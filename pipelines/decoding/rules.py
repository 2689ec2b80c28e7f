"""What a hypothesis may not say, whatever the model thinks of it:
such tokens get log-probability -∞.

The others keep what the model gave them, so that a score stays log P(y | x).

Shapes: b sentences still searched, W beam, t tokens so far, V vocabulary.
"""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from pipelines.nn.cuda import waiting

_NEVER = float("-inf")


class Rule(Protocol):
    """A constraint on the next token.

    Attributes:
        looks_back: it needs the tokens so far.
    """

    looks_back: bool

    def forbid(self, logits_bWV: Tensor, sentences: Sequence[int], history_bWt: Tensor) -> None:
        """Set what is forbidden to -∞, in place.

        Args:
            logits_bWV: of the next token.
            sentences: numbers of the b sentences in the batch.
            history_bWt: tokens so far; where the rule does not look back only its shape counts.
        """
        ...


class MinimumLength:
    """No end before so many tokens, the end among them."""

    looks_back = False

    def __init__(self, length: int, ends: Sequence[int]) -> None:
        self._length, self._ends = length, list(ends)

    def forbid(self, logits_bWV: Tensor, sentences: Sequence[int], history_bWt: Tensor) -> None:
        """See `Rule.forbid`."""
        if history_bWt.shape[2] + 1 < self._length:
            for end in self._ends:
                logits_bWV[:, :, end] = _NEVER


class NoRepeat:
    """No n tokens in a row a second time (Paulus et al. 2018, section 2.5)."""

    looks_back = True

    def __init__(self, size: int) -> None:
        self._size = size

    def forbid(self, logits_bWV: Tensor, sentences: Sequence[int], history_bWt: Tensor) -> None:
        """See `Rule.forbid`."""
        if history_bWt.shape[2] < self._size:
            return
        grams_bWGn = history_bWt.unfold(2, self._size, 1)
        last_bWn = history_bWt[:, :, history_bWt.shape[2] - self._size + 1 :]
        again_bWG = (grams_bWGn[..., :-1] == last_bWn[:, :, None]).all(dim=-1)
        if waiting.runs_ahead(again_bWG):  # a table of the vocabulary, whose size is known
            found = again_bWG.to(logits_bWV.dtype)
            times_bWV = torch.zeros_like(logits_bWV).scatter_add_(2, grams_bWGn[..., -1], found)
            logits_bWV.masked_fill_(times_bWV > 0, _NEVER)
            return
        b, w, gram = again_bWG.nonzero(as_tuple=True)
        logits_bWV[b, w, grams_bWGn[b, w, gram, -1]] = _NEVER


class Prefix:
    """Each hypothesis begins as it is told: tokens of each sentence of the batch."""

    looks_back = False

    def __init__(self, prefixes: Sequence[Sequence[int]]) -> None:
        self._prefixes = prefixes

    def forbid(self, logits_bWV: Tensor, sentences: Sequence[int], history_bWt: Tensor) -> None:
        """See `Rule.forbid`."""
        t = history_bWt.shape[2]
        for row, sentence in enumerate(sentences):
            if t < len(self._prefixes[sentence]):
                token = self._prefixes[sentence][t]
                kept_W = logits_bWV[row, :, token].clone()
                logits_bWV[row] = _NEVER
                logits_bWV[row, :, token] = kept_W


def apply(
    rules: Sequence[Rule], logits_bWV: Tensor, sentences: Sequence[int], history_bWt: Tensor
) -> None:
    """Let every rule forbid what it forbids; arguments as for `Rule.forbid`."""
    for rule in rules:
        rule.forbid(logits_bWV, sentences, history_bWt)


def history_needed(rules: Sequence[Rule]) -> bool:
    """Whether one of them looks back."""
    return any(rule.looks_back for rule in rules)


def empty_history(num_sentences: int, num_rows: int, length: int) -> Tensor:
    """A history of which only the shape counts."""
    return torch.zeros(1, 1, 1, dtype=torch.long).expand(num_sentences, num_rows, length)
