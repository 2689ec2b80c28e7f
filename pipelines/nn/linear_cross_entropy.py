"""Cross-entropy of a linear output layer, without ever holding all logits.

Shapes: N tokens, D model width, V vocabulary.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from pipelines.nn.cpu.largest import largest_in_rows
from pipelines.nn.plain import is_plain, seen

_BLOCK = 1 << 25  # logits held at a time, in the precision of the matrix product
IGNORED = -100  # a target that counts for nothing; PyTorch's own number for it
_CHUNK = 128  # tokens whose logits are float32 at a time; 16 … 608 differ by a tenth on two cores


def linear_cross_entropy(
    hidden_ND: Tensor,
    weight_VD: Tensor,
    bias_V: Tensor,
    targets_N: Tensor,
    *,
    label_smoothing: float = 0.0,
    rounded_up: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """Sum over tokens of −log softmax(W h + b)[target], smoothed if asked.

    The same value and gradients as ``F.cross_entropy(F.linear(h, W, b), y, reduction="sum",
    label_smoothing=…)``, computed a block of tokens at a time. The softmax is in float32; a block's
    gradient by its logits is kept in the precision of the matrix product, so that the two products
    with it are large ones.

    With the identity for W, two tokens with h = (ln 3, 0) and (0, 0) have the softmaxes (¾, ¼) and
    (½, ½); for targets 0 and 1 the loss is −ln ¾ − ln ½ = 0.981, and one of two is right:

    >>> hidden = torch.tensor([[1.0986123, 0.0], [0.0, 0.0]])
    >>> answer = linear_cross_entropy(hidden, torch.eye(2), torch.zeros(2), torch.tensor([0, 1]))
    >>> [round(value.item(), 3) for value in answer]
    [0.981, 0.981, 1]

    Of tokens whose number is rounded up all logits are held, in the precision of the product: the
    step is compiled then, and the compiler fuses what is done with them.

    Args:
        hidden_ND: what the output layer sees.
        weight_VD: of the output layer.
        bias_V: of the output layer.
        targets_N: the right tokens.
        label_smoothing: share of the probability that goes to all tokens alike.
        rounded_up: some targets are `IGNORED`.

    Returns:
        The smoothed loss (differentiable), the plain negative log-likelihood, and how many tokens
        the largest logit gets right; three scalars, all sums over the N tokens.
    """
    if rounded_up or is_plain():
        return _whole(hidden_ND, weight_VD, bias_V, targets_N, label_smoothing)
    result: tuple[Tensor, Tensor, Tensor] = _LinearCrossEntropy.apply(  # type: ignore[no-untyped-call]
        hidden_ND, weight_VD, bias_V, targets_N, label_smoothing, torch.is_grad_enabled()
    )
    return result


def _whole(
    hidden: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, smoothing: float
) -> tuple[Tensor, Tensor, Tensor]:
    """All logits at once, by operations with gradients of their own; see above."""
    logits = seen(F.linear(hidden, weight).to(bias.dtype) + bias, hidden, targets)
    settings: Any = {"reduction": "sum", "ignore_index": IGNORED}
    loss = F.cross_entropy(logits, targets, label_smoothing=smoothing, **settings)
    found = logits.detach()
    likelihood = F.cross_entropy(found, targets, **settings) if smoothing else loss.detach()
    return loss, likelihood, (found.argmax(dim=1) == targets).sum()


class _LinearCrossEntropy(torch.autograd.Function):
    """Gradients are made in the forward pass, while a chunk's softmax is at hand."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden_ND: Tensor,
        weight_VD: Tensor,
        bias_V: Tensor,
        targets_N: Tensor,
        smoothing: float,
        wants_gradient: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        sums = torch.zeros(2, device=hidden_ND.device)
        correct = torch.zeros((), dtype=torch.int64, device=hidden_ND.device)
        dtype = _matmul_dtype(hidden_ND)
        hidden, weight = hidden_ND.to(dtype), weight_VD.to(dtype)
        rows = max(1, _BLOCK // len(weight))
        step = _CHUNK if hidden.device.type == "cpu" else rows
        d_hidden, d_weight, d_bias = torch.empty_like(hidden), weight, torch.zeros_like(bias_V)
        products = hidden.new_empty(min(rows, len(hidden)), len(weight))
        exact = torch.empty(
            min(step, len(hidden)), len(weight), device=hidden.device, dtype=bias_V.dtype
        )
        for first in range(0, max(1, len(targets_N)), rows):  # once even without tokens
            block = hidden[first : first + rows]
            # W h of a block of tokens; its rows become the gradients by the logits, in place.
            kept = torch.mm(block, weight.T, out=products[: len(block)])
            # A chunk at a time in float32, while it is in the processor's cache.
            for start in range(0, len(block), step):
                part = kept[start : start + step]
                target = targets_N[first + start : first + start + len(part), None]
                logits = exact[: len(part)].copy_(part).add_(bias_V)
                correct += _softmax_(logits, target, smoothing, sums, d_bias, wants_gradient)
                if wants_gradient:
                    part.copy_(logits)
            if wants_gradient:
                # d h = d logits · W, and d W = d logitsᵀ · h: the two large products.
                torch.mm(kept, weight, out=d_hidden[first : first + rows])
                d_block = kept.T @ block
                d_weight = d_weight.to(bias_V.dtype).add_(d_block) if first else d_block
        if wants_gradient:
            ctx.save_for_backward(d_hidden, d_weight, d_bias)
        loss, likelihood = sums.unbind()
        ctx.mark_non_differentiable(likelihood, correct)
        return loss.clone(), likelihood.clone(), correct

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_loss: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        d_hidden, d_weight, d_bias = ctx.saved_tensors
        exact = d_bias.dtype  # mixed products would make whole copies first
        d_weight = d_weight * d_loss if d_weight.dtype == exact else d_weight.to(exact).mul_(d_loss)
        return d_hidden * d_loss, d_weight, d_bias * d_loss, None, None, None


def _matmul_dtype(x: Tensor) -> torch.dtype:
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


def _softmax_(
    logits: Tensor,
    target: Tensor,
    smoothing: float,
    sums: Tensor,
    d_bias: Tensor,
    wants_gradient: bool,
) -> Tensor:
    """Turn logits into the loss's gradient by them, in place;
    add up both losses and ``d_bias``; count the right ones.

    log Σ exp is read off the softmax at its largest entry, log p = logit − log Σ exp, which is at
    least 1/V.
    """
    largest, answer = largest_in_rows(logits)
    at_target = logits.gather(1, target)
    mean = logits.mean(dim=1, keepdim=True) if smoothing else 0.0
    torch.softmax(logits, dim=1, out=logits)
    log_normaliser = largest - logits.gather(1, answer).log()
    nll = (log_normaliser - at_target).sum()
    uniform = (log_normaliser - mean).sum() if smoothing else 0.0
    sums += torch.stack([(1.0 - smoothing) * nll + smoothing * uniform, nll])
    if wants_gradient:
        if smoothing:
            logits -= smoothing / logits.shape[1]
        logits.scatter_add_(1, target, logits.new_full(target.shape, smoothing - 1.0))
        d_bias += logits.sum(dim=0)
    return (answer == target).sum()
