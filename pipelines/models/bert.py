"""BERT (Devlin et al. 2019): a post-norm Transformer encoder, and its heads for MLM and NSP.

Shapes: R rows, T length, D model width, V vocabulary, S sequences, M masked tokens, Q 1 or T.
"""

import torch
from torch import Tensor, nn

from pipelines.nn.cuda.tables import rows_at
from pipelines.nn.transformer.attention import Mask
from pipelines.nn.transformer.blocks import BlockShape, EncoderBlock, initialize_like_bert
from pipelines.nn.transformer.embeddings import Embeddings
from pipelines.nn.transformer.norm import LayerNorm
from pipelines.nn.transformer.params import BertModelParams


class BertEncoder(nn.Module):
    """Embeddings, blocks and pooler.

    Args:
        params: sizes.
        vocab_size: of the tokenizer; the table of embeddings is padded to ``vocab_pad_multiple``.
    """

    def __init__(self, params: BertModelParams, vocab_size: int) -> None:
        super().__init__()
        shape = BlockShape.of(params)
        self.vocab_size = vocab_size
        self.padded_vocab_size = (
            -(-vocab_size // params.vocab_pad_multiple) * params.vocab_pad_multiple
        )
        self.embeddings = Embeddings.like_bert(
            self.padded_vocab_size,
            params.width,
            max_positions=params.max_positions,
            dropout=params.dropout,
        )
        self.blocks = nn.ModuleList(EncoderBlock(shape) for _ in range(params.num_layers))
        self.pooler = nn.Linear(params.width, params.width)

    def forward(
        self,
        tokens_RT: Tensor,
        types_RT: Tensor,
        mask_R1QT: Mask,
        places_RT: Tensor | None = None,
    ) -> Tensor:
        """The last layer [R, T, D].

        Args:
            tokens_RT: token ids.
            types_RT: 0 in the first segment, 1 in the second.
            mask_R1QT: True where a token may look (`attention_mask`); None where all rows are full;
                or where sequences lie in a single row without padding.
            places_RT: position of each token in its sequence; None where every row is one sequence.
        """
        x_RTD = self.embeddings(tokens_RT, types_BT=types_RT, places_BT=places_RT)
        for block in self.blocks:
            x_RTD = block(x_RTD, mask_R1QT)
        return x_RTD

    def pooled(self, hidden_RTD: Tensor, first_S: Tensor) -> Tensor:
        """Tanh of a linear map [S, D] of the tokens at flat places (row · T + column),
        the sequences' [CLS].
        """
        return torch.tanh(self.pooler(rows_at(hidden_RTD.flatten(0, 1), first_S)))


class Bert(BertEncoder):
    """The encoder with both pretraining heads; the output layer is tied to the token embeddings."""

    heads = ("nsp",)

    def __init__(self, params: BertModelParams, vocab_size: int) -> None:
        super().__init__(params, vocab_size)
        self.mlm_transform = nn.Sequential(
            nn.Linear(params.width, params.width), nn.GELU(), LayerNorm(params.width)
        )
        self.mlm_bias = nn.Parameter(torch.zeros(self.padded_vocab_size))
        self.nsp = nn.Linear(params.width, 2)
        initialize_like_bert(self, params.initializer_range)

    def mlm_hidden(self, hidden_RTD: Tensor, masked_M: Tensor) -> Tensor:
        """Inputs [M, D] of the output layer at flat places of the batch."""
        return self.mlm_transform(rows_at(hidden_RTD.flatten(0, 1), masked_M))

    def nsp_logits(self, pooled_SD: Tensor) -> Tensor:
        """Logits [S, 2]: 0 the second segment follows the first, 1 it does not."""
        return self.nsp(pooled_SD)


def attention_mask(sequences_RT: Tensor, *, packed: bool) -> Tensor:
    """True where a token may look: within its own sequence [R, 1, T, T], or at real tokens [R,
    1, 1, T].

    Args:
        sequences_RT: number of each token's sequence within its row, from 1; 0 is padding.
        packed: rows hold more than one sequence.
    """
    if packed:
        return (sequences_RT[:, :, None] == sequences_RT[:, None, :])[:, None]
    return (sequences_RT > 0)[:, None, None, :]
