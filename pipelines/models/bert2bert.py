"""Family ``bert2bert``: two BERTs joined by cross-attention (Rothe et al. 2020).

The decoder is a BERT that looks left only; its cross-attention is new. Either side can start from
random weights (bert2rnd, rnd2bert, rnd2rnd), the two can be one (bertshare).

Shapes: B sentences, N hypotheses, S source length, T target length, D width, V vocabulary.
"""

from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from pipelines.models.protocol.model import Belongs, DecoderState, Seq2SeqModel, belongs
from pipelines.models.protocol.params import ArchitectureParams
from pipelines.nn.cpu.linear import Linear
from pipelines.nn.rows import Row
from pipelines.nn.transformer.blocks import BlockShape, initialize_like_bert
from pipelines.nn.transformer.embeddings import Embeddings
from pipelines.nn.transformer.norm import LayerNorm
from pipelines.nn.transformer.params import TransformerShape
from pipelines.nn.transformer.stacks import Decoder, Encoder


class Params(ArchitectureParams, TransformerShape):
    """Knobs of the family; sizes are those of the BERT it starts from.

    Attributes:
        encoder, decoder: where their weights come from.
        pretrained_parts: of a pretrained side, what is taken over; the rest starts from random
            weights.
        shared: the decoder's weights are the encoder's, cross-attention apart (bertshare).
        pretrained_rate: learning rate of pretrained weights, as a factor of the others'.
        frozen_updates: as many updates first, pretrained weights stand still (Imamura & Sumita
            2019); all of them make BERT a fixed contextual embedding.
    """

    family: Literal["bert2bert"]
    layers: Literal["transformer"]
    encoder: Literal["pretrained", "random"]
    decoder: Literal["pretrained", "random"]
    pretrained_parts: Literal["all", "embeddings", "layers"]
    shared: bool
    pretrained_rate: float = Field(gt=0)
    frozen_updates: int = Field(ge=0)
    num_layers: int = Field(ge=1)
    initializer_range: float = Field(gt=0)

    @model_validator(mode="after")
    def _starts_agree(self) -> "Params":
        pretrained = "pretrained" in (self.encoder, self.decoder)
        if pretrained == (self.starts_from == "data/shards"):
            raise ValueError(
                f"starts_from ({self.starts_from}) must name a BERT where encoder ({self.encoder}) "
                f"or decoder ({self.decoder}) is pretrained, and be data/shards where neither is"
            )
        if self.shared and self.encoder != self.decoder:
            raise ValueError(
                f"encoder ({self.encoder}) and decoder ({self.decoder}) must agree where shared is "
                "true"
            )
        return self


class Model(Seq2SeqModel):
    """BERT encoder, BERT decoder, BERT's output layer."""

    unpads = True

    def __init__(self, params: Params, vocab_size: int) -> None:
        super().__init__()
        shape = BlockShape.of(params)
        encoder, decoder = (
            Embeddings.like_bert(
                vocab_size, params.width, max_positions=params.max_positions, dropout=params.dropout
            )
            for _ in range(2)
        )
        self.encoder = Encoder(encoder, shape, params.num_layers)
        self.decoder = Decoder(decoder, shape, params.num_layers)
        self.mlm_transform = nn.Sequential(
            Linear(params.width, params.width), nn.GELU(), LayerNorm(params.width)
        )
        if params.shared:
            _share(self.encoder, self.decoder)
        self.output = self.decoder.embeddings.token
        self.output_bias = nn.Parameter(torch.zeros(vocab_size))
        initialize_like_bert(self, params.initializer_range)
        self.params = params

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
        return self.mlm_transform(self.decoder(inputs_BT, *self.encoder(source_BS, lengths_B)))

    def hidden_unpadded(self, source: Row, inputs: Row) -> Tensor:
        """See `Seq2SeqModel.hidden_unpadded`."""
        decoded = self.decoder.unpadded(inputs, self.encoder.unpadded(source), source)
        return self.mlm_transform(decoded)

    def start(self, source_BS: Tensor, lengths_B: Tensor) -> DecoderState:
        """See `Seq2SeqModel.start`."""
        return self.decoder.start(*self.encoder(source_BS, lengths_B))

    def step_hidden(self, tokens_N: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        """See `Seq2SeqModel.step_hidden`."""
        hidden_ND, state = self.decoder.step(tokens_N, state)
        return self.mlm_transform(hidden_ND), state

    def belongs(self) -> Mapping[str, Belongs]:
        """See `Seq2SeqModel.belongs`."""
        return belongs(beam=Decoder.OF_BEAM, sentence=Decoder.OF_SENTENCE, step=Decoder.OF_STEP)

    def bert_names(self) -> dict[str, str]:
        """Everything of the pretrained sides but the cross-attention."""
        sides = {"encoder": self.params.encoder, "decoder": self.params.decoder}
        names = {}
        for name, _ in self.named_parameters():
            side, _, inner = name.partition(".")
            if side not in sides:  # what stands above the decoder
                side, inner = "decoder", "mlm_bias" if name == "output_bias" else name
            part = "embeddings" if inner.startswith(("embeddings", "mlm_bias")) else "layers"
            wanted = self.params.pretrained_parts in ("all", part)
            if sides[side] == "pretrained" and wanted and "cross_attention" not in inner:
                names[name] = inner
        return names


def _share(encoder: Encoder, decoder: Decoder) -> None:
    """Give the decoder the encoder's modules."""
    decoder.embeddings = encoder.embeddings
    for ours, theirs in zip(decoder.blocks, encoder.blocks, strict=True):
        for name in ("attention", "attention_norm", "feed_forward", "feed_forward_norm"):
            setattr(ours, name, getattr(theirs, name))
