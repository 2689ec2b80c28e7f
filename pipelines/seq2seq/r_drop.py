"""How far two passes of one network are apart, without ever holding all logits.

Shapes: N tokens, D model width, V vocabulary.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

_CHUNK = 256  # tokens whose logits are held at a time


def symmetric_divergence(a_ND: Tensor, b_ND: Tensor, weight_VD: Tensor, bias_V: Tensor) -> Tensor:
    """Sum over tokens of ½ [KL(P‖Q) + KL(Q‖P)],
    P and Q the output layer's softmax of ``a`` and ``b``.

    The second term of R-Drop (Liang et al. 2021, equation 2). P = (½, ½) and Q = (¾, ¼) are apart
    by ½ Σ (p − q) ln p/q = ½ (−¼ ln ⅔ + ¼ ln 2) = ⅛ ln 3 = 0.137:

    >>> p, q = torch.tensor([[0.0, 0.0]]), torch.tensor([[1.0986123, 0.0]])
    >>> round(symmetric_divergence(p, q, torch.eye(2), torch.zeros(2)).item(), 3)
    0.137
    """
    divergence: Tensor = _SymmetricDivergence.apply(a_ND, b_ND, weight_VD, bias_V)  # type: ignore[no-untyped-call]
    return divergence


class _SymmetricDivergence(torch.autograd.Function):
    """Gradients are made in the forward pass: by P's logits ½ [P ⊙ (log P/Q − KL(P‖Q)) + P − Q],
    by Q's the mirror.
    """

    @staticmethod
    def forward(ctx: Any, a_ND: Tensor, b_ND: Tensor, weight_VD: Tensor, bias_V: Tensor) -> Tensor:
        total = torch.zeros((), device=a_ND.device)
        dtype = (
            torch.get_autocast_dtype(a_ND.device.type)
            if torch.is_autocast_enabled(a_ND.device.type)
            else a_ND.dtype
        )
        both = torch.stack([a_ND, b_ND]).to(dtype)
        weight = weight_VD.to(dtype)
        bias = bias_V.to(dtype)
        d_both = torch.empty_like(both)
        d_weight = torch.zeros_like(weight_VD)
        d_bias = torch.zeros_like(bias_V)
        for first in range(0, len(a_ND), _CHUNK):
            part = both[:, first : first + _CHUNK]
            log = F.linear(part, weight, bias).float().log_softmax(dim=-1)
            p = log.exp()
            # ½ [KL(P‖Q) + KL(Q‖P)] = ½ Σ (p − q) (log p − log q)
            ratio, apart = log[0] - log[1], p[0] - p[1]
            total += 0.5 * (apart * ratio).sum()
            # KL(P‖Q) and KL(Q‖P) of each token, which the softmax's derivative subtracts.
            to_q, to_p = (
                (own * sign * ratio).sum(dim=-1, keepdim=True)
                for own, sign in zip(p, (1, -1), strict=True)
            )
            d_logits = 0.5 * torch.stack(
                [p[0] * (ratio - to_q) + apart, p[1] * (-ratio - to_p) - apart]
            )
            d_bias += d_logits.sum(dim=(0, 1))
            d_logits = d_logits.to(dtype)
            d_both[:, first : first + _CHUNK] = d_logits @ weight
            d_weight += d_logits.flatten(0, 1).T @ part.flatten(0, 1)
        ctx.save_for_backward(d_both.to(a_ND.dtype), d_weight, d_bias)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_total: Tensor) -> tuple[Tensor, ...]:
        d_both, d_weight, d_bias = ctx.saved_tensors
        return d_both[0] * d_total, d_both[1] * d_total, d_weight * d_total, d_bias * d_total
