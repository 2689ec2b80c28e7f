"""Encoder and decoder blocks, normalised before (pre) or after (post) each sub-layer.

Shapes: B batch (or batch × beam), T length, S source length, D model width, F feed-forward width,
H heads, K head width, W beam.
"""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from pipelines.nn.cpu.dropout import Dropout
from pipelines.nn.cpu.linear import Linear
from pipelines.nn.rows import Within
from pipelines.nn.transformer.attention import Mask, MultiHeadAttention
from pipelines.nn.transformer.norm import LayerNorm
from pipelines.nn.transformer.params import TransformerShape


@dataclass(frozen=True)
class BlockShape:
    """What all blocks of a stack have in common.

    Attributes:
        norm: ``post`` x = LN(x + f(x)) (Vaswani et al. 2017) or ``pre`` x = x + f(LN(x)) (Xiong et
            al. 2020).
    """

    width: int
    num_heads: int
    feed_forward_width: int
    dropout: float
    attention_dropout: float
    norm: Literal["pre", "post"]
    activation: Literal["gelu", "relu"]

    @classmethod
    def of(
        cls,
        params: TransformerShape,
        norm: Literal["pre", "post"] = "post",
        activation: Literal["gelu", "relu"] = "gelu",
    ) -> "BlockShape":
        """The blocks of some params; BERT's unless told otherwise."""
        return cls(
            width=params.width,
            num_heads=params.num_heads,
            feed_forward_width=params.feed_forward_width,
            dropout=params.dropout,
            attention_dropout=params.attention_dropout,
            norm=norm,
            activation=activation,
        )


class FeedForward(nn.Module):
    """W₂ · activation(W₁ x + b₁) + b₂."""

    def __init__(self, shape: BlockShape) -> None:
        super().__init__()
        self.inner = Linear(shape.width, shape.feed_forward_width)
        self.outer = Linear(shape.feed_forward_width, shape.width)
        self.activation = nn.GELU() if shape.activation == "gelu" else nn.ReLU()

    def forward(self, x_BTD: Tensor) -> Tensor:
        return self.outer(self.activation(self.inner(x_BTD)))


class EncoderBlock(nn.Module):
    """Self-attention and feed-forward, each with its residual and norm."""

    def __init__(self, shape: BlockShape) -> None:
        super().__init__()
        self.pre = shape.norm == "pre"
        self.attention = MultiHeadAttention(shape.width, shape.num_heads, shape.attention_dropout)
        self.attention_norm = LayerNorm(shape.width)
        self.feed_forward = FeedForward(shape)
        self.feed_forward_norm = LayerNorm(shape.width)
        self.dropout = Dropout(shape.dropout)

    def forward(self, x_BTD: Tensor, mask_B1QT: Mask) -> Tensor:
        """[B, T, D] → [B, T, D]; for the mask see `MultiHeadAttention.forward`, Q is 1 or T."""
        y_BTD = self.attention_norm(x_BTD) if self.pre else x_BTD
        attended_BTD = self.attention.to_itself(y_BTD, mask=mask_B1QT)
        x_BTD = x_BTD + self.dropout(attended_BTD)
        if not self.pre:
            x_BTD = self.attention_norm(x_BTD)
        return _feed_forward(self, x_BTD)


class DecoderBlock(nn.Module):
    """Causal self-attention, attention to the source, feed-forward."""

    def __init__(self, shape: BlockShape) -> None:
        super().__init__()
        self.pre = shape.norm == "pre"
        self.attention = MultiHeadAttention(shape.width, shape.num_heads, shape.attention_dropout)
        self.attention_norm = LayerNorm(shape.width)
        self.cross_attention = MultiHeadAttention(
            shape.width, shape.num_heads, shape.attention_dropout
        )
        self.cross_attention_norm = LayerNorm(shape.width)
        self.feed_forward = FeedForward(shape)
        self.feed_forward_norm = LayerNorm(shape.width)
        self.dropout = Dropout(shape.dropout)

    def forward(
        self, x_BTD: Tensor, memory_BSD: Tensor, mask_B11S: Mask, own: Within | None = None
    ) -> Tensor:
        """All target positions at once (teacher forcing): [B, T, D] → [B, T, D].

        ``own`` says where target sequences lie that follow each other in one row.
        """
        y_BTD = self.attention_norm(x_BTD) if self.pre else x_BTD
        x_BTD = x_BTD + self.dropout(self.attention.to_itself(y_BTD, mask=own, causal=True))
        y_BTD = self.cross_attention_norm(x_BTD) if self.pre else self.attention_norm(x_BTD)
        x_BTD = x_BTD if self.pre else y_BTD
        memory = self.cross_attention.keys_and_values(memory_BSD)
        x_BTD = x_BTD + self.dropout(self.cross_attention(y_BTD, *memory, mask=mask_B11S))
        if not self.pre:
            x_BTD = self.cross_attention_norm(x_BTD)
        return _feed_forward(self, x_BTD)

    def step(
        self,
        x_ND: Tensor,
        table: tuple[Tensor, Tensor],
        places: Tensor,
        itself_B1WP: Tensor,
        memory: tuple[Tensor, Tensor],
        source_B11S: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """One target position of N = B·W hypotheses.

        Args:
            x_ND: inputs.
            table: keys and values of the positions before, [B, H, C, K] each
                (`pipelines.nn.transformer.cache`).
            places: where this one's are written (`pipelines.nn.transformer.cache.Slots`).
            itself_B1WP: 0 where a hypothesis has its ancestors and itself, else -∞.
            memory: cross-attention's keys and values, [B, H, S, K] each.
            source_B11S: 0 on real source tokens, else -∞.

        Returns:
            [N, D] and cross-attention's weights [B, H, W, S].
        """
        y_ND = self.attention_norm(x_ND) if self.pre else x_ND
        for slots, layer in zip(table, (self.attention.key, self.attention.value), strict=True):
            slots.view(-1, slots.shape[3]).index_copy_(
                0, places, layer(y_ND).view(-1, slots.shape[3])
            )
        key, value = (slots[:, :, : itself_B1WP.shape[3]] for slots in table)
        x_ND = x_ND + self.attention.for_beams(y_ND, key, value, itself_B1WP)[0]
        y_ND = self.cross_attention_norm(x_ND) if self.pre else self.attention_norm(x_ND)
        x_ND = x_ND if self.pre else y_ND
        attended_ND, weight_BHWS = self.cross_attention.for_beams(y_ND, *memory, source_B11S)
        x_ND = x_ND + attended_ND
        if not self.pre:
            x_ND = self.cross_attention_norm(x_ND)
        return _feed_forward(self, x_ND), weight_BHWS


def _feed_forward(block: EncoderBlock | DecoderBlock, x_BTD: Tensor) -> Tensor:
    if block.pre:
        return x_BTD + block.dropout(block.feed_forward(block.feed_forward_norm(x_BTD)))
    return block.feed_forward_norm(x_BTD + block.dropout(block.feed_forward(x_BTD)))


def initialize_like_bert(module: nn.Module, deviation: float) -> None:
    """Matrices and embeddings from N(0, deviation²), biases 0, LayerNorm 1 and 0.

    Devlin et al. 2019 take 0.02 for a width of 768; narrow networks learn faster from more.
    """
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Embedding):
            nn.init.normal_(part.weight, std=deviation)
        if isinstance(part, nn.Linear) and part.bias is not None:
            nn.init.zeros_(part.bias)
