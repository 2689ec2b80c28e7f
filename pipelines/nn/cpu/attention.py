"""Attention as three products, for training on a CPU.

Shapes: B batch, H heads, T query length, S key length, K head width.
"""

import torch
from torch import Tensor

from pipelines.nn.cpu.dropout import dropout

SHORT = 1024  # keys up to which it beats PyTorch's kernel


def explicit_attention(
    query_BHTK: Tensor,
    key_BHSK: Tensor,
    value_BHSK: Tensor,
    mask: Tensor | None,
    *,
    causal: bool,
    rate: float,
) -> Tensor:
    """softmax(Q Kᵀ / √K) V as three kernels.

    On a CPU up to four times as fast in training as PyTorch's kernel where that has no backward of
    its own (dropout) or a slow one (bf16); in float32 without dropout PyTorch's is faster
    (benchmarks/README.md). A query that may look nowhere gets the mean of all values.
    """
    scores_BHTS = (query_BHTK * query_BHTK.shape[-1] ** -0.5) @ key_BHSK.transpose(-1, -2)
    if causal:
        mask = scores_BHTS.new_ones(scores_BHTS.shape[-2:], dtype=torch.bool).tril()
    if mask is not None:
        far = torch.finfo(scores_BHTS.dtype).min / 2
        # One pass over the scores, and none in the backward pass.
        scores_BHTS += torch.zeros_like(mask, dtype=scores_BHTS.dtype).masked_fill_(~mask, far)
    # The softmax of bf16 is slow for fewer than 32 keys.
    exact = torch.float32 if scores_BHTS.dtype == torch.bfloat16 else None
    return dropout(scores_BHTS.softmax(dim=-1, dtype=exact).to(value_BHSK.dtype), rate) @ value_BHSK
