"""Family ``bert2bert``: two BERTs joined by cross-attention (Rothe et al. 2020).

The decoder is a BERT that looks left only; its cross-attention is new. With ``starts_from: data/shards`` the
same network starts from random weights (rnd2rnd), which is the only fair thing to compare it with.
Shapes: B sentences, N hypotheses, S source length, T target length, D width, V vocabulary.
"""

from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from pipelines.layers.transformer.blocks import BlockShape, initialize_like_bert
from pipelines.layers.transformer.embeddings import Embeddings
from pipelines.layers.transformer.params import TransformerShape
from pipelines.layers.transformer.stacks import Decoder, Encoder
from pipelines.seq2seq.models.protocol import Belongs, Seq2SeqModel, State
from pipelines.seq2seq.params import ArchitectureParams


class Params(ArchitectureParams, TransformerShape):
    """Knobs of the family; sizes are those of the BERT it starts from."""

    family: Literal["bert2bert"]
    layers: Literal["transformer"]
    num_layers: int = Field(ge=1)
    initializer_range: float = Field(gt=0)


class Model(Seq2SeqModel):
    """BERT encoder, BERT decoder, BERT's output layer."""

    def __init__(self, params: Params, vocab_size: int) -> None:
        super().__init__()
        shape = BlockShape(
            params.width, params.num_heads, params.feed_forward_width, params.dropout, norm="post", activation="gelu"
        )
        encoder, decoder = (
            Embeddings.like_bert(vocab_size, params.width, max_positions=params.max_positions, dropout=params.dropout)
            for _ in range(2)
        )
        self.encoder = Encoder(encoder, shape, params.num_layers)
        self.decoder = Decoder(decoder, shape, params.num_layers)
        self.mlm_transform = nn.Sequential(
            nn.Linear(params.width, params.width), nn.GELU(), nn.LayerNorm(params.width, eps=1e-12)
        )
        self.output = self.decoder.embeddings.token
        self.output_bias = nn.Parameter(torch.zeros(vocab_size))
        initialize_like_bert(self, params.initializer_range)

    def hidden(self, source_BS: Tensor, lengths_B: Tensor, inputs_BT: Tensor) -> Tensor:
        """See `Seq2SeqModel.hidden`."""
        return self.mlm_transform(self.decoder(inputs_BT, *self.encoder(source_BS, lengths_B)))

    def start(self, source_BS: Tensor, lengths_B: Tensor) -> State:
        """See `Seq2SeqModel.start`."""
        return self.decoder.start(*self.encoder(source_BS, lengths_B))

    def step_hidden(self, tokens_N: Tensor, state: State) -> tuple[Tensor, State]:
        """See `Seq2SeqModel.step_hidden`."""
        hidden_ND, state = self.decoder.step(tokens_N, state)
        return self.mlm_transform(hidden_ND), state

    def belongs(self) -> Mapping[str, Belongs]:
        """See `Seq2SeqModel.belongs`."""
        memory = dict.fromkeys(("memory_key", "memory_value", "mask"), Belongs.SENTENCE)
        return {"key": Belongs.BEAM, "value": Belongs.BEAM, **memory}

    def bert_names(self) -> dict[str, str]:
        """Everything but the cross-attention."""
        names = {}
        for name, _ in self.named_parameters():
            inner = name.removeprefix("encoder.").removeprefix("decoder.")
            if "cross_attention" not in inner:
                names[name] = "mlm_bias" if inner == "output_bias" else inner
        return names
