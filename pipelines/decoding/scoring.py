"""The next tokens of many hypotheses, without a table of batch × vocabulary log-probabilities.

Shapes: N hypotheses, D width, V vocabulary, K tokens kept per hypothesis.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

_AT_ONCE = 128  # hypotheses whose logits stay in a CPU's cache


class Scored(NamedTuple):
    """Log-probabilities of some next tokens of each row of each beam, [b, W, K] each."""

    log_probability: Tensor
    token: Tensor


def next_tokens(
    logits: Callable[[Tensor], Tensor],
    hidden_ND: Tensor,
    count: int | None,
    *,
    together: int,
    forbid: Callable[[Tensor, slice], None] | None = None,
) -> Scored:
    """The ``count`` likeliest tokens of each row, or all of them, [N, 1, K] each.

    A log-probability is a logit less the logarithm of the sum of all exponentials: the likeliest tokens are known
    before that, so nothing but logits is ever as wide as the vocabulary.

    Args:
        logits: hidden → logits.
        hidden_ND: what the output layer sees.
        count: K; None for V.
        together: rows that are never parted.
        forbid: is given the logits of a slice of rows, to set some of them to -∞.

    Raises:
        FloatingPointError: some are NaN or infinite.
    """
    size = max(1, _AT_ONCE // together) * together
    values, tokens = [], []
    for first in range(0, len(hidden_ND), size):
        rows = slice(first, min(first + size, len(hidden_ND)))
        logits_nV = logits(hidden_ND[rows])
        whole_n1 = logits_nV.logsumexp(dim=-1, keepdim=True)
        if not whole_n1.isfinite().all():
            message = "beam search: the model's logits must be numbers, some are NaN or infinite; look at its training"
            raise FloatingPointError(message)
        if forbid is not None:
            forbid(logits_nV, rows)
        if count is None or count >= logits_nV.shape[1]:
            value, token = logits_nV, torch.arange(logits_nV.shape[1], device=logits_nV.device).expand(logits_nV.shape)
        else:
            value, token = logits_nV.topk(count, dim=-1)
        values.append((value - whole_n1).double())
        tokens.append(token)
    return Scored(torch.cat(values)[:, None], torch.cat(tokens)[:, None])
