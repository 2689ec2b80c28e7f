"""The next tokens of many hypotheses, without a table of batch × vocabulary log-probabilities.

Shapes: N hypotheses, D width, V vocabulary, K tokens kept per hypothesis.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

_AT_ONCE = 128  # hypotheses whose log-probabilities stay in a CPU's cache
_BLOCK = 64


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

    Computed for so few rows at a time that their log-probabilities stay in a CPU's cache.

    Args:
        logits: hidden → logits.
        hidden_ND: what the output layer sees.
        count: K; None for V.
        together: rows that are never parted.
        forbid: is given the log-probabilities of a slice of rows, to set some of them to -∞.

    Raises:
        FloatingPointError: some are NaN or infinite.
    """
    size = max(1, _AT_ONCE // together) * together
    values, tokens = [], []
    for first in range(0, len(hidden_ND), size):
        rows = slice(first, min(first + size, len(hidden_ND)))
        log_probability_nV = logits(hidden_ND[rows]).log_softmax(dim=-1)
        if log_probability_nV[:, 0].isnan().any():
            message = "beam search: the model's logits must be numbers, some are NaN or infinite; look at its training"
            raise FloatingPointError(message)
        if forbid is not None:
            forbid(log_probability_nV, rows)
        value, token = likeliest_tokens(log_probability_nV, count)
        values.append(value.double())
        tokens.append(token)
    return Scored(torch.cat(values)[:, None], torch.cat(tokens)[:, None])


def likeliest_tokens(value_NV: Tensor, count: int | None) -> tuple[Tensor, Tensor]:
    """The ``count`` largest values of each row and their places, largest first; all in their order if None.

    The k largest are in the k blocks with the largest maxima; looking for these first is twice as fast as `torch.topk`
    over everything.
    """
    N, V = value_NV.shape
    if count is None or count >= V:
        return value_NV, torch.arange(V, device=value_NV.device).expand(N, V)
    whole = V // _BLOCK * _BLOCK
    if whole <= 2 * count * _BLOCK:
        value_NK, place_NK = value_NV.topk(count, dim=-1)
        return value_NK, place_NK
    blocks_NXB = value_NV[:, :whole].unflatten(1, (-1, _BLOCK))  # type: ignore[no-untyped-call]
    best_NK = blocks_NXB.amax(dim=2).topk(count, dim=1, sorted=False).indices
    found = blocks_NXB.gather(1, best_NK[:, :, None].expand(-1, -1, _BLOCK)).flatten(1)
    value_NK, place_NK = torch.cat([found, value_NV[:, whole:]], dim=1).topk(count, dim=1)
    block_NK = best_NK.gather(1, (place_NK // _BLOCK).clamp(max=count - 1))
    inside = block_NK * _BLOCK + place_NK % _BLOCK
    return value_NK, torch.where(place_NK < count * _BLOCK, inside, place_NK - count * _BLOCK + whole)
