"""Family ``transformer``: Vaswani et al. 2017 with pre-norm blocks (Xiong et al. 2020).

Sinusoidal positions, GELU, one embedding for source, target and output: the vocabulary is shared.
Shapes: B sentences, N hypotheses, S source length, T target length, D width, V vocabulary.
"""

from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from pipelines.layers.transformer.blocks import BlockShape
from pipelines.layers.transformer.embeddings import Embeddings
from pipelines.layers.transformer.params import TransformerShape
from pipelines.layers.transformer.stacks import Decoder, Encoder
from pipelines.seq2seq.models.protocol import Belongs, Seq2SeqModel, State
from pipelines.seq2seq.params import ArchitectureParams


class Params(ArchitectureParams, TransformerShape):
    """Knobs of the family."""

    family: Literal["transformer"]
    layers: Literal["transformer"]
    starts_from: Literal["data/shards"]
    num_encoder_layers: int = Field(ge=1)
    num_decoder_layers: int = Field(ge=1)


class Model(Seq2SeqModel):
    """Encoder, decoder, three-way tied embeddings."""

    def __init__(self, params: Params, vocab_size: int) -> None:
        super().__init__()
        shape = BlockShape(
            params.width, params.num_heads, params.feed_forward_width, params.dropout, norm="pre", activation="gelu"
        )
        embeddings = Embeddings(
            vocab_size,
            params.width,
            max_positions=params.max_positions,
            positions="sinusoidal",
            num_types=0,
            normalised=False,
            dropout=params.dropout,
        )
        self.encoder = Encoder(embeddings, shape, params.num_encoder_layers)
        self.decoder = Decoder(embeddings, shape, params.num_decoder_layers)
        self.output = embeddings.token
        self.output_bias = nn.Parameter(torch.zeros(vocab_size))
        for part in self.modules():
            if isinstance(part, nn.Linear):
                nn.init.xavier_uniform_(part.weight)
                nn.init.zeros_(part.bias)
        nn.init.normal_(embeddings.token.weight, std=params.width**-0.5)

    def hidden(self, source_BS: Tensor, lengths_B: Tensor, inputs_BT: Tensor) -> Tensor:
        """See `Seq2SeqModel.hidden`."""
        return self.decoder(inputs_BT, *self.encoder(source_BS, lengths_B))

    def start(self, source_BS: Tensor, lengths_B: Tensor) -> State:
        """See `Seq2SeqModel.start`."""
        return self.decoder.start(*self.encoder(source_BS, lengths_B))

    def step_hidden(self, tokens_N: Tensor, state: State) -> tuple[Tensor, State]:
        """See `Seq2SeqModel.step_hidden`."""
        return self.decoder.step(tokens_N, state)

    def belongs(self) -> Mapping[str, Belongs]:
        """See `Seq2SeqModel.belongs`."""
        memory = dict.fromkeys(("memory_key", "memory_value", "mask"), Belongs.SENTENCE)
        return {"key": Belongs.BEAM, "value": Belongs.BEAM, **memory}
