"""Multi-head attention (Vaswani et al. 2017, section 3.2.2) on PyTorch's own kernel.

Shapes: B batch (or batch × beam), T query length, S key length, D model width, H heads, K head width,
W beam.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


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
            raise ValueError(f"MultiHeadAttention: num_heads ({num_heads}) must divide width ({width})")
        self.num_heads = num_heads
        self.dropout = dropout
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)

    def keys_and_values(self, memory_BSD: Tensor) -> tuple[Tensor, Tensor]:
        """What queries attend to: keys [B, H, S, K] and values [B, H, S, K]."""
        return self._split(self.key(memory_BSD)), self._split(self.value(memory_BSD))

    def forward(
        self,
        query_BTD: Tensor,
        key_BHSK: Tensor,
        value_BHSK: Tensor,
        *,
        mask: Tensor | None = None,
        causal: bool = False,
    ) -> Tensor:
        """Attend.

        Args:
            query_BTD: inputs of the queries.
            key_BHSK: keys.
            value_BHSK: values.
            mask: True where a query may look, broadcastable to [B, H, T, S].
            causal: query t sees keys 0 … t; not together with ``mask``.

        Returns:
            [B, T, D].
        """
        heads_BHTK = F.scaled_dot_product_attention(
            self._split(self.query(query_BTD)),
            key_BHSK,
            value_BHSK,
            attn_mask=mask,
            is_causal=causal,
            dropout_p=self.dropout if self.training else 0.0,
        )
        B, _, T, _ = heads_BHTK.shape
        return self.output(heads_BHTK.transpose(1, 2).reshape(B, T, -1))

    def for_beams(self, query_ND: Tensor, key_BHSK: Tensor, value_BHSK: Tensor, mask_B11S: Tensor) -> Tensor:
        """Attention of W hypotheses per sentence to memory that stands there once: [B·W, 1, D] → the same.

        The beam becomes the query's time axis, so keys and values are never copied per hypothesis.
        """
        B = key_BHSK.shape[0]
        query_BWD = query_ND.reshape(B, -1, query_ND.shape[-1])
        return self(query_BWD, key_BHSK, value_BHSK, mask=mask_B11S).reshape(query_ND.shape)

    def _split(self, x_BTD: Tensor) -> Tensor:
        B, T, D = x_BTD.shape
        return x_BTD.view(B, T, self.num_heads, D // self.num_heads).transpose(1, 2)


def padding_mask(lengths_B: Tensor, length: int) -> Tensor:
    """True on real tokens: [B, 1, 1, length]."""
    return (torch.arange(length, device=lengths_B.device) < lengths_B[:, None])[:, None, None, :]
