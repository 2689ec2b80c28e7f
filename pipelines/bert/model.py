"""BERT (Devlin et al. 2019): a post-norm Transformer encoder with heads for MLM and NSP.

Shapes: B batch, T length, D model width, V vocabulary, M masked positions of the whole batch.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pipelines.bert.params import BertModelParams
from pipelines.layers.transformer.attention import padding_mask
from pipelines.layers.transformer.blocks import BlockShape, EncoderBlock, initialize_like_bert
from pipelines.layers.transformer.embeddings import Embeddings


@dataclass(frozen=True)
class BertOutput:
    """What the heads need.

    Attributes:
        hidden_BTD: the encoder's last layer.
        pooled_BD: tanh of a linear map of the first token.
    """

    hidden_BTD: Tensor
    pooled_BD: Tensor


class Bert(nn.Module):
    """Encoder, pooler and both pretraining heads; the output layer is tied to the token embeddings."""

    def __init__(self, params: BertModelParams, vocab_size: int) -> None:
        super().__init__()
        shape = BlockShape(
            params.width, params.num_heads, params.feed_forward_width, params.dropout, norm="post", activation="gelu"
        )
        self.embeddings = Embeddings.like_bert(
            vocab_size, params.width, max_positions=params.max_positions, dropout=params.dropout
        )
        self.blocks = nn.ModuleList(EncoderBlock(shape) for _ in range(params.num_layers))
        self.pooler = nn.Linear(params.width, params.width)
        self.mlm_transform = nn.Sequential(
            nn.Linear(params.width, params.width), nn.GELU(), nn.LayerNorm(params.width, eps=1e-12)
        )
        self.mlm_bias = nn.Parameter(torch.zeros(vocab_size))
        self.nsp = nn.Linear(params.width, 2)
        initialize_like_bert(self, params.initializer_range)

    def forward(self, tokens_BT: Tensor, types_BT: Tensor, lengths_B: Tensor) -> BertOutput:
        """Encode padded token ids with their segment ids (0 or 1)."""
        mask_B11T = padding_mask(lengths_B, tokens_BT.shape[1])
        x_BTD = self.embeddings(tokens_BT, types_BT=types_BT)
        for block in self.blocks:
            x_BTD = block(x_BTD, mask_B11T)
        return BertOutput(x_BTD, torch.tanh(self.pooler(x_BTD[:, 0])))

    def mlm_hidden(self, hidden_BTD: Tensor, positions_M: Tensor) -> Tensor:
        """Inputs [M, D] of the output layer at flat positions (row · T + column) of the batch."""
        return self.mlm_transform(hidden_BTD.flatten(0, 1)[positions_M])

    def mlm_logits(self, hidden_BTD: Tensor) -> Tensor:
        """Logits [B, T, V] at every position; training asks for the masked ones only."""
        return nn.functional.linear(self.mlm_transform(hidden_BTD), self.embeddings.token.weight, self.mlm_bias)

    def nsp_logits(self, pooled_BD: Tensor) -> Tensor:
        """Logits [B, 2]: 0 the second segment follows the first, 1 it is from another document."""
        return self.nsp(pooled_BD)
