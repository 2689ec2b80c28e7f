"""Family ``recurrent``: a GRU encoder-decoder, with a fixed context or with attention.

Cho et al. 2014 feed one context vector, the encoder's last state, at every step; Bahdanau et al. 2015 look at
all encoder states again before each.
Shapes: B batch, W beam, N = B·W, S source length, T target length, D width, L layers, V vocabulary.
"""

from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from pipelines.layers.dropout import Dropout
from pipelines.layers.recurrent.attention import AdditiveAttention
from pipelines.seq2seq.models.protocol import Belongs, Seq2SeqModel, State
from pipelines.seq2seq.params import ArchitectureParams


class Params(ArchitectureParams):
    """Knobs of the family."""

    family: Literal["recurrent"]
    layers: Literal["recurrent"]
    starts_from: Literal["data/shards"]
    attention: Literal["none", "additive"]
    width: int = Field(ge=2, multiple_of=2)
    num_layers: int = Field(ge=1)


class Model(Seq2SeqModel):
    """Bidirectional GRU encoder, GRU decoder, output tied to the embeddings."""

    def __init__(self, params: Params, vocab_size: int) -> None:
        super().__init__()
        D, L = params.width, params.num_layers
        between = params.dropout if L > 1 else 0.0
        self.embedding = nn.Embedding(vocab_size, D)
        self.output = self.embedding
        self.output_bias = nn.Parameter(torch.zeros(vocab_size))
        self.encoder = nn.GRU(D, D // 2, L, batch_first=True, bidirectional=True, dropout=between)
        self.decoder = nn.GRU(2 * D, D, L, batch_first=True, dropout=between)
        self.bridge = nn.Linear(D, L * D)
        self.readout = nn.Linear(3 * D, D)
        self.attention = AdditiveAttention(D) if params.attention == "additive" else None
        self.dropout = Dropout(params.dropout)
        nn.init.normal_(self.embedding.weight, std=D**-0.5)

    def _encode(self, source_BS: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Encoder states [B, S, D], their summary [B, D], the decoder's first state [B, L, D]."""
        embedded = pack_padded_sequence(
            self.dropout(self.embedding(source_BS)), lengths_B.cpu(), batch_first=True, enforce_sorted=False
        )
        packed, last = self.encoder(embedded)
        memory_BSD, _ = pad_packed_sequence(packed, batch_first=True, total_length=source_BS.shape[1])
        summary_BD = torch.cat([last[-2], last[-1]], dim=-1)
        state_BLD = torch.tanh(self.bridge(summary_BD)).view(len(source_BS), self.decoder.num_layers, -1)
        return memory_BSD, summary_BD, state_BLD

    def hidden(self, source_BS: Tensor, lengths_B: Tensor, inputs_BT: Tensor) -> Tensor:
        """See `Seq2SeqModel.hidden`."""
        memory_BSD, summary_BD, state_BLD = self._encode(source_BS, lengths_B)
        embedded_BTD = self.dropout(self.embedding(inputs_BT))
        if self.attention is None:
            context_BTD = summary_BD[:, None].expand_as(embedded_BTD)
            states_BTD, _ = self.decoder(
                torch.cat([embedded_BTD, context_BTD], dim=-1), state_BLD.transpose(0, 1).contiguous()
            )
        else:
            states_BTD, context_BTD = self._attend_through(embedded_BTD, memory_BSD, lengths_B, state_BLD)
        return self._read(states_BTD, context_BTD, embedded_BTD)

    def _attend_through(
        self, embedded_BTD: Tensor, memory_BSD: Tensor, lengths_B: Tensor, state_BLD: Tensor
    ) -> tuple[Tensor, Tensor]:
        """States and contexts [B, T, D]: each context needs the state before it, so step by step."""
        assert self.attention is not None
        mask_BS = _mask(lengths_B, memory_BSD.shape[1])
        key_BSD = self.attention.keys(memory_BSD)
        state_LBD = state_BLD.transpose(0, 1).contiguous()
        states, contexts = [], []
        for t in range(embedded_BTD.shape[1]):
            context_BD = self.attention(state_LBD[-1], key_BSD, memory_BSD, mask_BS)
            state_BD, state_LBD = self.decoder(torch.cat([embedded_BTD[:, t], context_BD], dim=-1)[:, None], state_LBD)
            states.append(state_BD)
            contexts.append(context_BD)
        return torch.cat(states, dim=1), torch.stack(contexts, dim=1)

    def _read(self, state: Tensor, context: Tensor, embedded: Tensor) -> Tensor:
        return self.dropout(torch.tanh(self.readout(torch.cat([state, context, embedded], dim=-1))))

    def start(self, source_BS: Tensor, lengths_B: Tensor) -> State:
        """See `Seq2SeqModel.start`."""
        memory_BSD, summary_BD, state_BLD = self._encode(source_BS, lengths_B)
        if self.attention is None:
            return {"state": state_BLD, "context": summary_BD}
        mask_BS = _mask(lengths_B, source_BS.shape[1])
        return {"state": state_BLD, "memory": memory_BSD, "key": self.attention.keys(memory_BSD), "mask": mask_BS}

    def step_hidden(self, tokens_N: Tensor, state: State) -> tuple[Tensor, State]:
        """See `Seq2SeqModel.step_hidden`."""
        embedded_ND = self.embedding(tokens_N)
        state_LND = state["state"].transpose(0, 1).contiguous()
        if self.attention is None:
            beam = len(tokens_N) // len(state["context"])
            context_ND = state["context"].repeat_interleave(beam, dim=0)
        else:
            context_ND = self.attention(state_LND[-1], state["key"], state["memory"], state["mask"])
        state_ND, state_LND = self.decoder(torch.cat([embedded_ND, context_ND], dim=-1)[:, None], state_LND)
        hidden_ND = self._read(state_ND[:, 0], context_ND, embedded_ND)
        return hidden_ND, {**state, "state": state_LND.transpose(0, 1)}

    def belongs(self) -> Mapping[str, Belongs]:
        """See `Seq2SeqModel.belongs`."""
        sentence = Belongs.SENTENCE
        return {"state": Belongs.BEAM, "context": sentence, "memory": sentence, "key": sentence, "mask": sentence}


def _mask(lengths_B: Tensor, length: int) -> Tensor:
    """True on real tokens: [B, length]."""
    return torch.arange(length, device=lengths_B.device) < lengths_B[:, None]
