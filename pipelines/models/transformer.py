"""Family ``transformer``: Vaswani et al. 2017, with post-norm blocks or pre-norm ones
(Xiong et al. 2020).

Shapes: B sentences, N hypotheses, S source length, T target length, D width, V vocabulary.
"""

from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from pipelines.models.protocol.model import Belongs, DecoderState, Seq2SeqModel, belongs
from pipelines.models.protocol.params import ArchitectureParams
from pipelines.nn.rows import Row
from pipelines.nn.transformer.blocks import BlockShape
from pipelines.nn.transformer.embeddings import Embeddings
from pipelines.nn.transformer.params import TransformerShape
from pipelines.nn.transformer.stacks import Decoder, Encoder


class Params(ArchitectureParams, TransformerShape):
    """Knobs of the family.

    Attributes:
        norm: see `BlockShape`.
        positions: sines and cosines (Vaswani et al. 2017, section 3.5) or learned ones.
        tied: one table of embeddings for source, target and output (``all``), for target and output
            (``output``; Press & Wolf 2017), or three.
    """

    family: Literal["transformer"]
    layers: Literal["transformer"]
    starts_from: Literal["data/shards"]
    norm: Literal["pre", "post"]
    activation: Literal["gelu", "relu"]
    positions: Literal["sinusoidal", "learned"]
    tied: Literal["all", "output", "none"]
    num_encoder_layers: int = Field(ge=1)
    num_decoder_layers: int = Field(ge=1)


class Model(Seq2SeqModel):
    """Encoder, decoder, output layer."""

    unpads = True

    def __init__(self, params: Params, vocab_size: int) -> None:
        super().__init__()
        shape = BlockShape.of(params, params.norm, params.activation)
        of_source = _embeddings(params, vocab_size)
        of_target = of_source if params.tied == "all" else _embeddings(params, vocab_size)
        self.encoder = Encoder(of_source, shape, params.num_encoder_layers)
        self.decoder = Decoder(of_target, shape, params.num_decoder_layers)
        self.output = (
            nn.Embedding(vocab_size, params.width) if params.tied == "none" else of_target.token
        )
        self.output_bias = nn.Parameter(torch.zeros(vocab_size))
        for part in self.modules():
            if isinstance(part, nn.Linear):
                nn.init.xavier_uniform_(part.weight)
                nn.init.zeros_(part.bias)
            if isinstance(part, nn.Embedding):
                nn.init.normal_(part.weight, std=params.width**-0.5)

    @property
    def source_embeddings(self) -> nn.Module:
        """See `Seq2SeqModel.source_embeddings`."""
        return self.encoder.embeddings

    @property
    def longest_source(self) -> int:
        """See `Seq2SeqModel.longest_source`."""
        return self.encoder.embeddings.max_positions

    def hidden(self, source_BS: Tensor, lengths_B: Tensor, inputs_BT: Tensor) -> Tensor:
        """See `Seq2SeqModel.hidden`."""
        return self.decoder(inputs_BT, *self.encoder(source_BS, lengths_B))

    def hidden_unpadded(self, source: Row, inputs: Row) -> Tensor:
        """See `Seq2SeqModel.hidden_unpadded`."""
        return self.decoder.unpadded(inputs, self.encoder.unpadded(source), source)

    def start(self, source_BS: Tensor, lengths_B: Tensor) -> DecoderState:
        """See `Seq2SeqModel.start`."""
        return self.decoder.start(*self.encoder(source_BS, lengths_B))

    def step_hidden(self, tokens_N: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        """See `Seq2SeqModel.step_hidden`."""
        return self.decoder.step(tokens_N, state)

    def belongs(self) -> Mapping[str, Belongs]:
        """See `Seq2SeqModel.belongs`."""
        return belongs(beam=Decoder.OF_BEAM, sentence=Decoder.OF_SENTENCE, step=Decoder.OF_STEP)


def _embeddings(params: Params, vocab_size: int) -> Embeddings:
    return Embeddings(
        vocab_size,
        params.width,
        max_positions=params.max_positions,
        positions=params.positions,
        num_types=0,
        normalised=False,
        dropout=params.dropout,
    )
