"""Input embeddings: tokens, positions and, for BERT, segments.

Shapes: B batch, T length, D model width, V vocabulary, P positions.
"""

import math
from typing import Literal

import torch
from torch import Tensor, nn

from pipelines.nn.cpu.dropout import Dropout
from pipelines.nn.cuda.tables import look_up
from pipelines.nn.transformer.norm import LayerNorm, in_stream


class Embeddings(nn.Module):
    """The sum of token, position and (optionally) segment embeddings, normalised if asked.

    Args:
        vocab_size: V.
        width: D.
        max_positions: P, the longest input.
        positions: ``learned`` (Devlin et al. 2019) or ``sinusoidal`` (Vaswani et al. 2017, section
            3.5).
        num_types: number of segment types, 0 for none.
        normalised: LayerNorm on the sum, as in BERT; otherwise tokens are scaled by √D (section
            3.4).
        dropout: on the result.
    """

    def __init__(
        self,
        vocab_size: int,
        width: int,
        *,
        max_positions: int,
        positions: Literal["learned", "sinusoidal"],
        num_types: int,
        normalised: bool,
        dropout: float,
    ) -> None:
        super().__init__()
        self.token = nn.Embedding(vocab_size, width)
        self.table_PD: Tensor
        if positions == "learned":
            self.position = nn.Embedding(max_positions, width)
        else:
            self.register_buffer("table_PD", sinusoids(max_positions, width), persistent=False)
        self.segment = nn.Embedding(num_types, width) if num_types else None
        self.norm = LayerNorm(width) if normalised else None
        self.scale = 1.0 if normalised else math.sqrt(width)
        self.learned = positions == "learned"
        self.max_positions = max_positions
        self.dropout = Dropout(dropout)

    @classmethod
    def like_bert(
        cls, vocab_size: int, width: int, *, max_positions: int, dropout: float
    ) -> "Embeddings":
        """Learned positions, two segment types, normalised (Devlin et al. 2019, section 3)."""
        return cls(
            vocab_size,
            width,
            max_positions=max_positions,
            positions="learned",
            num_types=2,
            normalised=True,
            dropout=dropout,
        )

    def forward(
        self,
        tokens_BT: Tensor,
        *,
        types_BT: Tensor | None = None,
        first_position: int = 0,
        places_BT: Tensor | None = None,
    ) -> Tensor:
        """Embed tokens that stand at ``first_position`` and after, or each at its own place: [B,
        T, D].
        """
        table_PD = self.position.weight if self.learned else self.table_PD
        end = first_position + tokens_BT.shape[1]
        places = table_PD[first_position:end] if places_BT is None else look_up(places_BT, table_PD)
        x_BTD = look_up(tokens_BT, self.token.weight) * self.scale + places
        if self.segment is not None:
            weight = self.segment.weight
            x_BTD = x_BTD + (weight[0] if types_BT is None else look_up(types_BT, weight))
        if self.norm is not None:
            x_BTD = self.norm(x_BTD)
        return self.dropout(in_stream(x_BTD))


def sinusoids(num_positions: int, width: int) -> Tensor:
    """PE(p, 2i) = sin(p / 10000^(2i/D)), PE(p, 2i+1) = cos of the same: [P, D]."""
    frequency = torch.exp(torch.arange(0, width, 2) * (-math.log(10000.0) / width))
    angle = torch.arange(num_positions)[:, None] * frequency
    return torch.stack([angle.sin(), angle.cos()], dim=-1).reshape(num_positions, width)
