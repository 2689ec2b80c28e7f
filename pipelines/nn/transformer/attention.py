"""Multi-head attention (Vaswani et al. 2017, section 3.2.2) on PyTorch's own kernel.

Shapes: B batch (or batch × beam), T query length, S key length, D model width, H heads, K head
width, W beam.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipelines.nn.cpu.attention import SHORT, explicit_attention
from pipelines.nn.cpu.linear import Linear, linear
from pipelines.nn.plain import is_plain
from pipelines.nn.rows import Within
from pipelines.nn.transformer.varlen import attention_within

Mask = Tensor | Within | None


class MultiHeadAttention(nn.Module):
    """Projections around scaled dot-product attention; keys and values are made apart from queries.

    Args:
        width: D.
        num_heads: H; must divide ``width``.
        dropout: on the attention weights, in training.

    Raises:
        ValueError: ``num_heads`` does not divide ``width``.
    """

    def __init__(self, width: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        if width % num_heads:
            raise ValueError(
                f"MultiHeadAttention: num_heads ({num_heads}) must divide width ({width})"
            )
        self.num_heads = num_heads
        self.head_width = width // num_heads
        self.dropout = dropout
        self.query = Linear(width, width)
        self.key = Linear(width, width)
        self.value = Linear(width, width)
        self.output = Linear(width, width)

    def keys_and_values(self, memory_BSD: Tensor) -> tuple[Tensor, Tensor]:
        """What queries attend to: keys [B, H, S, K] and values [B, H, S, K]."""
        return self._split(self.key(memory_BSD)), self._split(self.value(memory_BSD))

    def forward(
        self,
        query_BTD: Tensor,
        key_BHSK: Tensor,
        value_BHSK: Tensor,
        *,
        mask: Mask = None,
        causal: bool = False,
    ) -> Tensor:
        """Attend.

        Args:
            query_BTD: inputs of the queries.
            key_BHSK: keys.
            value_BHSK: values.
            mask: True where a query may look, broadcastable to [B, H, T, S]; or where sequences
                lie that follow each other without padding in one row, B = 1.
            causal: query t sees keys 0 … t of its sequence; not together with a tensor ``mask``.

        Returns:
            [B, T, D].
        """
        return self._attend(
            self._split(self.query(query_BTD)), key_BHSK, value_BHSK, mask, causal=causal
        )

    def to_itself(self, x_BTD: Tensor, *, mask: Mask = None, causal: bool = False) -> Tensor:
        """Self-attention, the three projections as one matrix product: [B, T, D] → [B, T, D]."""
        projections = (self.query, self.key, self.value)
        weight = torch.cat([projection.weight for projection in projections])
        bias = torch.cat([projection.bias for projection in projections])
        query, key, value = (
            self._split(part) for part in linear(x_BTD, weight, bias).chunk(3, dim=-1)
        )
        return self._attend(query, key, value, mask, causal=causal)

    def _attend(
        self, query: Tensor, key: Tensor, value: Tensor, mask: Mask, *, causal: bool
    ) -> Tensor:
        dropout = self.dropout if self.training else 0.0
        if isinstance(mask, Within):
            query, key, value = (part[0].transpose(0, 1) for part in (query, key, value))
            heads_NHK = attention_within(query, key, value, mask, causal=causal, rate=dropout)
            return self.output(heads_NHK.flatten(1)[None])
        explicit = (
            self.training
            and (dropout > 0 or query.dtype == torch.bfloat16)
            and key.shape[2] <= SHORT
        )
        if is_plain() or (explicit and query.device.type == "cpu"):
            heads_BHTK = explicit_attention(query, key, value, mask, causal=causal, rate=dropout)
        else:
            heads_BHTK = F.scaled_dot_product_attention(
                query, key, value, attn_mask=mask, is_causal=causal, dropout_p=dropout
            )
        B, _, T, _ = heads_BHTK.shape
        return self.output(heads_BHTK.transpose(1, 2).reshape(B, T, -1))

    def for_beams(
        self, query_ND: Tensor, key_BHSK: Tensor, value_BHSK: Tensor, far_B1WS: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Attention of W hypotheses per sentence to a table that stands there once for all of them.

        The beam takes the place of the query's time axis, so keys and values are never copied per
        hypothesis; with so few queries explicit products are up to twice as fast as PyTorch's
        kernel.

        Args:
            query_ND: N = B·W inputs of queries.
            key_BHSK: the table's keys.
            value_BHSK: the table's values.
            far_B1WS: added to the scores: 0, and -∞ where a hypothesis may not look; W or 1 in its
                place.

        Returns:
            [N, D] and the weights [B, H, W, S].
        """
        B, H, _, K = key_BHSK.shape
        query_BHWK = self.query(query_ND).view(B, -1, H, K).transpose(1, 2) * K**-0.5
        weight_BHWS = (query_BHWK @ key_BHSK.transpose(-1, -2) + far_B1WS).softmax(dim=-1)
        return self.output(
            (weight_BHWS @ value_BHSK).transpose(1, 2).reshape(query_ND.shape)
        ), weight_BHWS

    def _split(self, x_BTD: Tensor) -> Tensor:
        B, T, D = x_BTD.shape
        return x_BTD.view(B, T, self.num_heads, D // self.num_heads).transpose(1, 2)


def padding_mask(lengths_B: Tensor, length: int) -> Tensor:
    """True on real tokens: [B, 1, 1, length]."""
    return (torch.arange(length, device=lengths_B.device) < lengths_B[:, None])[:, None, None, :]
