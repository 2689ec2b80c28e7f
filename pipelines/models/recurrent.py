"""Family ``recurrent``: RNN, LSTM or GRU encoder-decoder, with a fixed context or with attention.

Without attention one context vector, the encoder's last state, is fed at every step (Cho et al.
2014). With ``additive`` attention the context is looked up before each step (Bahdanau et al. 2015),
with ``dot`` or ``general`` after it, and the attentional vector is fed to the next (Luong et al.
2015, section 3.3).

Shapes: B batch, W beam, N = B·W, S source length, T target length, D width, L layers, G gates, V
vocabulary.
"""

from collections.abc import Mapping
from typing import Annotated, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from pipelines.frame.params_reader import Section
from pipelines.models.protocol.model import Belongs, DecoderState, Seq2SeqModel, belongs
from pipelines.models.protocol.params import ArchitectureParams
from pipelines.nn.cpu.dropout import Dropout
from pipelines.nn.cpu.linear import Linear, linear
from pipelines.nn.recurrent.attention import AdditiveAttention, Attention, MultiplicativeAttention
from pipelines.nn.recurrent.cells import (
    Cell,
    CellState,
    GruCell,
    LstmCell,
    RnnCell,
    TextbookGruCell,
)
from pipelines.nn.recurrent.stack import Recurrent


class PlainCell(Section):
    """Elman's RNN, or the LSTM with its memory cell."""

    name: Literal["rnn", "lstm"]


class Gru(Section):
    """GRU; ``reset_after`` as PyTorch and cuDNN have it, else as in the paper and textbooks."""

    name: Literal["gru"]
    reset_after: bool


class Params(ArchitectureParams):
    """Knobs of the family.

    Attributes:
        bidirectional: the encoder reads both ways, ``width / 2`` each.
        bridge: the decoder's first state is ``linear``: tanh of a map of the encoder's last state,
            ``last``: that state, layer by layer, or ``zero``.
        width: of embeddings, encoder outputs and decoder.
    """

    family: Literal["recurrent"]
    layers: Literal["recurrent"]
    starts_from: Literal["data/shards"]
    cell: Annotated[PlainCell | Gru, Field(discriminator="name")]
    bidirectional: bool
    attention: Literal["none", "additive", "dot", "general"]
    bridge: Literal["linear", "last", "zero"]
    width: int = Field(ge=2, multiple_of=2)
    num_layers: int = Field(ge=1)


class _Seen(NamedTuple):
    """What attention looks at: encoder states [B, S, D], their keys [B, S, D],
    real tokens [B, S].
    """

    memory: Tensor
    key: Tensor
    mask: Tensor


class _Stepped(NamedTuple):
    """One position with attention.

    Attributes:
        made: with input feeding the attentional vector [N, D], else decoder output and context [N,
            2·D].
        fed: the attentional vector, where it is fed.
        state: of the decoder.
        attention: weights [N, S].
    """

    made: Tensor
    fed: Tensor
    state: CellState
    attention: Tensor


class Model(Seq2SeqModel):
    """Encoder, bridge, decoder; output tied to the embeddings."""

    def __init__(self, params: Params, vocab_size: int) -> None:
        super().__init__()
        D, L, cell = params.width, params.num_layers, _cell(params.cell)
        self.embedding = nn.Embedding(vocab_size, D)
        self.output = self.embedding
        self.output_bias = nn.Parameter(torch.zeros(vocab_size))
        self.encoder = Recurrent(
            cell,
            D,
            D // 2 if params.bidirectional else D,
            num_layers=L,
            bidirectional=params.bidirectional,
            dropout=params.dropout,
        )
        self.decoder = Recurrent(
            cell, 2 * D, D, num_layers=L, bidirectional=False, dropout=params.dropout
        )
        self.bridge_kind = params.bridge
        self.bridge = Linear(D, cell.num_states * L * D) if params.bridge == "linear" else None
        self.attention = _attention(params.attention, D)
        self.input_feeding = isinstance(self.attention, MultiplicativeAttention)
        self.readout = Linear(2 * D if self.input_feeding else 3 * D, D)
        self.dropout = Dropout(params.dropout)
        nn.init.normal_(self.embedding.weight, std=D**-0.5)

    def _encode(self, source_BS: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor, CellState]:
        """Encoder states [B, S, D], their summary [B, D], the decoder's first state,
        tensors of [B, L, D].
        """
        memory_BSD, last = self.encoder(self.dropout(self.embedding(source_BS)), lengths_B)
        summary_BD = last[0][:, -1]
        if self.bridge_kind == "last":
            return memory_BSD, summary_BD, last
        if self.bridge is None:
            return memory_BSD, summary_BD, tuple(torch.zeros_like(part) for part in last)
        first = torch.tanh(self.bridge(summary_BD)).chunk(len(last), dim=-1)
        return memory_BSD, summary_BD, tuple(part.view(last[0].shape) for part in first)

    @property
    def source_embeddings(self) -> nn.Module:
        """See `Seq2SeqModel.source_embeddings`."""
        return self.embedding

    def hidden(self, source_BS: Tensor, lengths_B: Tensor, inputs_BT: Tensor) -> Tensor:
        """See `Seq2SeqModel.hidden`."""
        memory_BSD, summary_BD, state = self._encode(source_BS, lengths_B)
        embedded_BTD = self.dropout(self.embedding(inputs_BT))
        if self.attention is None:
            context_BTD = summary_BD[:, None].expand_as(embedded_BTD)
            states_BTD, _ = self.decoder(
                torch.cat([embedded_BTD, context_BTD], dim=-1), None, state
            )
            return self._read(states_BTD, context_BTD, embedded_BTD)
        seen = self._seen(memory_BSD, lengths_B)
        made, fed_BD = [], torch.zeros_like(summary_BD)
        for projected_BG in self._project(embedded_BTD).unbind(dim=1):
            made_BX, fed_BD, state, _ = self._step(projected_BG, fed_BD, seen, state)
            made.append(made_BX)
        made_BTX = torch.stack(made, dim=1)
        return made_BTX if self.input_feeding else self._read(made_BTX, embedded_BTD)

    def start(self, source_BS: Tensor, lengths_B: Tensor) -> DecoderState:
        """See `Seq2SeqModel.start`."""
        memory_BSD, summary_BD, first = self._encode(source_BS, lengths_B)
        state = {f"state.{number}": part for number, part in enumerate(first)}
        if self.attention is None:
            return {**state, "context": summary_BD}
        fed = {"fed": torch.zeros_like(summary_BD)} if self.input_feeding else {}
        nowhere = {"attention": memory_BSD.new_zeros(memory_BSD.shape[:2])}
        return {**state, **fed, **nowhere, **self._seen(memory_BSD, lengths_B)._asdict()}

    def step_hidden(self, tokens_N: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        """See `Seq2SeqModel.step_hidden`."""
        embedded_ND = self.embedding(tokens_N)
        projected_NG = self._project(embedded_ND)
        before = tuple(state[f"state.{number}"] for number in range(self.decoder.num_states))
        if self.attention is None:
            beam = len(tokens_N) // len(state["context"])
            context_ND = state["context"].repeat_interleave(beam, dim=0)
            top_ND, after = self.decoder.step(
                projected_NG + self._project_context(context_ND), before
            )
            hidden_ND, more = self._read(top_ND, context_ND, embedded_ND), {}
        else:
            seen = _Seen(state["memory"], state["key"], state["mask"])
            hidden_ND, fed_ND, after, weight_NS = self._step(
                projected_NG, state.get("fed", embedded_ND), seen, before
            )
            more = {"attention": weight_NS, **({"fed": fed_ND} if self.input_feeding else {})}
            hidden_ND = hidden_ND if self.input_feeding else self._read(hidden_ND, embedded_ND)
        return hidden_ND, {
            **state,
            **more,
            **{f"state.{number}": part for number, part in enumerate(after)},
        }

    def _step(
        self, projected_NG: Tensor, fed_ND: Tensor, seen: _Seen, state: CellState
    ) -> _Stepped:
        """One position with attention.

        Args:
            projected_NG: the embedding's part of the first layer's gates.
            fed_ND: the attentional vector before, where it is fed.
            seen: see `_Seen`.
            state: of the decoder.
        """
        assert self.attention is not None
        if self.input_feeding:
            top_ND, state = self.decoder.step(projected_NG + self._project_context(fed_ND), state)
            context_ND, weight_NS = self.attention(top_ND, seen.key, seen.memory, seen.mask)
            vector_ND = self._read(top_ND, context_ND)
            return _Stepped(vector_ND, vector_ND, state, weight_NS)
        context_ND, weight_NS = self.attention(state[0][:, -1], seen.key, seen.memory, seen.mask)
        top_ND, state = self.decoder.step(projected_NG + self._project_context(context_ND), state)
        return _Stepped(torch.cat([top_ND, context_ND], dim=-1), fed_ND, state, weight_NS)

    def _project(self, embedded: Tensor) -> Tensor:
        """The embeddings' part of the first layer's gates: no step changes it,
        so one product makes all.
        """
        cell = self._first_cell()
        return linear(embedded, cell.input.weight[:, : embedded.shape[-1]], cell.input.bias)

    def _project_context(self, context_ND: Tensor) -> Tensor:
        return linear(context_ND, self._first_cell().input.weight[:, -context_ND.shape[-1] :])

    def _first_cell(self) -> Cell:
        cell = self.decoder.layers[0][0]  # type: ignore[index]
        assert isinstance(cell, Cell)
        return cell

    def _read(self, *parts: Tensor) -> Tensor:
        return self.dropout(torch.tanh(self.readout(torch.cat(parts, dim=-1))))

    def _seen(self, memory_BSD: Tensor, lengths_B: Tensor) -> _Seen:
        assert self.attention is not None
        mask_BS = torch.arange(memory_BSD.shape[1], device=lengths_B.device) < lengths_B[:, None]
        return _Seen(memory_BSD, self.attention.keys(memory_BSD), mask_BS)

    def belongs(self) -> Mapping[str, Belongs]:
        """See `Seq2SeqModel.belongs`."""
        return belongs(
            beam=("state", *(("fed", "attention") if self.attention else ())),
            sentence=("context", "memory", "key", "mask"),
        )


def _cell(params: PlainCell | Gru) -> type[Cell]:
    if isinstance(params, Gru):
        return GruCell if params.reset_after else TextbookGruCell
    return {"rnn": RnnCell, "lstm": LstmCell}[params.name]


def _attention(name: str, width: int) -> Attention | None:
    if name == "none":
        return None
    if name == "additive":
        return AdditiveAttention(width, width)
    return MultiplicativeAttention(width, width, general=name == "general")
