"""The next tokens of many hypotheses, without a table of batch × vocabulary log-probabilities.

Shapes: N rows, D width, V vocabulary, W rows of a beam (1 before the first step), b = N / W beams,
X continuations of a beam.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from pipelines.nn.cuda import waiting

_AT_ONCE = 128  # rows whose log-probabilities stay in a CPU's cache
_TABLE = 1 << 27  # log-probabilities that are computed at once elsewhere: half a GiB
_BLOCK = 128


class NextTokenScores(NamedTuple):
    """Some continuations of each beam, [b, X] each.

    Attributes:
        log_probability: of the token.
        row: it continues.
        token: it adds.
    """

    log_probability: Tensor
    row: Tensor
    token: Tensor


def next_token_scores(
    logits: Callable[[Tensor], Tensor],
    hidden_ND: Tensor,
    before_bW: Tensor,
    count: int | None,
    *,
    together: int,
    forbid: Callable[[Tensor, slice], None] | None = None,
) -> NextTokenScores:
    """The ``count`` likeliest continuations of each beam, in no order; or all of them,
    by row and by token.

    Computed for so few rows at a time that their log-probabilities stay in a CPU's cache, or for so
    many that they fill a GPU.

    Args:
        logits: hidden → logits.
        hidden_ND: what the output layer sees.
        before_bW: log-probabilities of the rows.
        count: X; None for W·V.
        together: rows that are never parted, a multiple of W.
        forbid: is given the log-probabilities of a slice of rows, to set some of them to -∞.

    Raises:
        FloatingPointError: some are NaN or infinite; on a GPU they are NaN in the answer.
    """
    ahead, W = waiting.runs_ahead(hidden_ND), before_bW.shape[1]
    parts, first, at_once = [], 0, _AT_ONCE
    if ahead:
        at_once = max(_AT_ONCE, _TABLE // logits(hidden_ND[:1]).shape[1])
    while first < len(hidden_ND):
        size = max(1, at_once // together) * together
        rows = slice(first, min(first + size, len(hidden_ND)))
        log_probability_nV = logits(hidden_ND[rows]).log_softmax(dim=-1)
        first = rows.stop
        if not ahead:
            require_numbers(log_probability_nV[:, 0].isnan())
        if forbid is not None:
            forbid(log_probability_nV, rows)
        parts.append(
            likeliest_tokens(log_probability_nV, before_bW[rows.start // W : rows.stop // W], count)
        )
    return NextTokenScores(*(torch.cat(part) for part in zip(*parts, strict=True)))


def require_numbers(broken: Tensor) -> None:
    """Refuse a model whose answers are not finite.

    Raises:
        FloatingPointError: one of ``broken`` is true.
    """
    if broken.any():
        message = (
            "beam search: the model's logits must be numbers, some are NaN or infinite; look at "
            "its training"
        )
        raise FloatingPointError(message)


def likeliest_tokens(value_NV: Tensor, before_bW: Tensor, count: int | None) -> NextTokenScores:
    """The continuations whose values, with what was before, are largest;
    arguments as for `next_token_scores`.

    The k largest are in the k blocks with the largest maxima; looking for these first is three
    times as fast as `torch.topk` over everything.
    """
    (b, W), V = before_bW.shape, value_NV.shape[1]
    if count is None or count >= W * V:
        number_X = torch.arange(W * V, device=value_NV.device)
        return NextTokenScores(
            value_NV.double().view(b, W * V),
            (number_X // V).expand(b, -1),
            (number_X % V).expand(b, -1),
        )
    if 2 * count < W * (V // _BLOCK):
        row_bX, token_bX = _by_blocks(value_NV, before_bW, count)
    else:
        total_bX = (value_NV.view(b, W, V) + before_bW[:, :, None]).flatten(1)
        place_bX = total_bX.topk(count, sorted=False).indices
        row_bX, token_bX = place_bX // V, place_bX % V
    return NextTokenScores(value_NV[_among_all(row_bX, W), token_bX].double(), row_bX, token_bX)


def _by_blocks(value_NV: Tensor, before_bW: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Rows and tokens; the tokens after the last whole block are looked at one by one."""
    (b, W), V = before_bW.shape, value_NV.shape[1]
    blocks, rest = divmod(V, _BLOCK)
    value_NYZ = value_NV[:, : V - rest].unflatten(1, (blocks, _BLOCK))  # type: ignore[no-untyped-call]
    best_bWY = value_NYZ.amax(dim=2).view(b, W, blocks) + before_bW[:, :, None]
    place_bX = best_bWY.flatten(1).topk(count, sorted=False).indices
    row_bX, block_bX = place_bX // blocks, place_bX % blocks
    inside_bXZ = (
        value_NYZ[_among_all(row_bX, W), block_bX] + before_bW.gather(1, row_bX)[:, :, None]
    )
    after_bWZ = value_NV[:, V - rest :].view(b, W, rest) + before_bW[:, :, None]
    place_bX = (
        torch.cat([inside_bXZ.flatten(1), after_bWZ.flatten(1)], dim=1)
        .topk(count, sorted=False)
        .indices
    )
    of_block_bX = (place_bX // _BLOCK).clamp(max=count - 1)
    token_bX = block_bX.gather(1, of_block_bX) * _BLOCK + place_bX % _BLOCK
    row_bX = row_bX.gather(1, of_block_bX)
    if not rest:
        return row_bX, token_bX
    after_bX = place_bX - count * _BLOCK
    return (
        torch.where(after_bX < 0, row_bX, after_bX // rest),
        torch.where(after_bX < 0, token_bX, after_bX % rest + V - rest),
    )


def _among_all(row_bX: Tensor, W: int) -> Tensor:
    """Numbers of rows among those of their beam to numbers among those of all beams."""
    return row_bX + W * torch.arange(len(row_bX), device=row_bX.device)[:, None]
