"""Attention within sequences that lie one after the other in a single row, without padding.

Shapes: S sequences, N tokens of all queries, M of all keys, H heads, K head width, L longest.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from pipelines.nn.cuda.attention import flash_attention
from pipelines.nn.rows import Bounds, Within


def attention_within(
    query_NHK: Tensor,
    key_MHK: Tensor,
    value_MHK: Tensor,
    within: Within,
    *,
    causal: bool,
    rate: float,
) -> Tensor:
    """softmax(Q Kᵀ / √K) V within each sequence: [N, H, K].

    On a GPU, in bfloat16 or float16, it is one kernel, of FlashAttention-2 (Dao 2023); elsewhere
    sequences are padded, attended to and laid one after the other again.

    Two sequences of two tokens and one; queries and keys are all alike, so each token gets the mean
    of the values of its own sequence:

    >>> same = torch.zeros(3, 1, 8)
    >>> value = torch.tensor([1.0, 3.0, 7.0])[:, None, None].expand(3, 1, 8)
    >>> bounds = Bounds(torch.tensor([0, 2, 3], dtype=torch.int32), longest=2)
    >>> found = attention_within(
    ...     same, same, value, Within(bounds, bounds), causal=False, rate=0.0
    ... )
    >>> found[:, 0, 0].tolist()
    [2.0, 2.0, 7.0]

    Args:
        query_NHK: of all sequences, one after the other.
        key_MHK: likewise.
        value_MHK: likewise.
        within: where the sequences are.
        causal: query t of a sequence sees its keys 0 … t; queries and keys have equal bounds.
        rate: of dropout on the attention weights.
    """
    if query_NHK.device.type == "cuda" and query_NHK.dtype in (torch.bfloat16, torch.float16):
        ends, longest = zip(*within, strict=True)
        heads: Tensor = flash_attention(
            query_NHK, key_MHK, value_MHK, *ends, longest, causal, rate
        )[0]
        return heads
    query_SHLK, key_SHLK, value_SHLK = (
        _padded(part, bounds)
        for part, bounds in zip(
            (query_NHK, key_MHK, value_MHK), (within.queries, within.keys, within.keys), strict=True
        )
    )
    mask = _real(within.keys)[:, None, None]
    if causal:
        mask = mask & mask.new_ones(within.queries.longest, within.keys.longest).tril()
    heads_SHLK = F.scaled_dot_product_attention(
        query_SHLK, key_SHLK, value_SHLK, attn_mask=mask, dropout_p=rate
    )
    return _in_a_row(heads_SHLK, within.queries, len(query_NHK))


def _real(bounds: Bounds) -> Tensor:
    """True on real tokens of padded sequences [S, L]; an empty one keeps a token to look at."""
    sizes_S = bounds.ends_S1.diff().clamp(min=1)
    return torch.arange(bounds.longest, device=sizes_S.device) < sizes_S[:, None]


def _padded(x_NHK: Tensor, bounds: Bounds) -> Tensor:
    """Sequences side by side [S, H, L, K], padded with any tokens."""
    place_L = torch.arange(bounds.longest, device=x_NHK.device)
    place_SL = (bounds.ends_S1[:-1, None] + place_L).clamp(max=len(x_NHK) - 1)
    return x_NHK[place_SL].transpose(1, 2)


def _in_a_row(x_SHLK: Tensor, bounds: Bounds, num_tokens: int) -> Tensor:
    """The real tokens of padded sequences [N, H, K]."""
    token_N = torch.arange(num_tokens, device=x_SHLK.device, dtype=bounds.ends_S1.dtype)
    sequence_N = torch.searchsorted(bounds.ends_S1[1:].contiguous(), token_N, right=True)
    return x_SHLK.transpose(1, 2)[sequence_N, token_N - bounds.ends_S1[sequence_N]]
