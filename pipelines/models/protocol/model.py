"""What training and search know of a model, and nothing more.

Shapes: B sentences, W beam, N = B·W hypotheses, S source length, T target length, D width, V
vocabulary.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from enum import Enum

import torch
from torch import Tensor, nn

from pipelines.nn.cpu.linear import ONEDNN, Linear, Precision, Product, linear
from pipelines.nn.rows import Row

DecoderState = dict[str, Tensor]
_LARGE = 2**18  # weights of a matrix


class Belongs(Enum):
    """To what a row of a state tensor belongs."""

    BEAM = "a hypothesis: gathered when hypotheses change places"
    SENTENCE = "a source sentence: never copied per hypothesis, kept while the sentence is searched"
    STEP = "the step: the same for all"


def belongs(
    *, beam: Iterable[str] = (), sentence: Iterable[str] = (), step: Iterable[str] = ()
) -> dict[str, Belongs]:
    """The mapping `Seq2SeqModel.belongs` returns."""
    kinds = ((beam, Belongs.BEAM), (sentence, Belongs.SENTENCE), (step, Belongs.STEP))
    return {name: kind for names, kind in kinds for name in names}


class Seq2SeqModel(nn.Module, ABC):
    """An encoder-decoder.

    Attributes:
        output: the output embedding [V, D]; its bias is ``output_bias``.
        unpads: it has `hidden_unpadded`.
    """

    output: nn.Embedding
    output_bias: nn.Parameter
    unpads = False
    _product: Product | None = None

    @property
    def longest_source(self) -> int | None:
        """Most source tokens, [CLS] and [SEP] among them; None where there is no limit."""
        return None

    @property
    def has_attention(self) -> bool:
        """Whether its states hold ``attention`` [N, S],
        the weights of the last step over the source.
        """
        return "attention" in self.belongs()

    @property
    @abstractmethod
    def source_embeddings(self) -> nn.Module:
        """The module whose first output in a pass is the embedded source [B, S, D]."""

    @abstractmethod
    def hidden(self, source_BS: Tensor, lengths_B: Tensor, inputs_BT: Tensor) -> Tensor:
        """Teacher forcing: what the output layer sees at each target position, [B, T, D].

        Args:
            source_BS: [CLS] x [SEP], padded.
            lengths_B: real tokens of each source.
            inputs_BT: [CLS] y, padded.
        """

    def hidden_unpadded(self, source: Row, inputs: Row) -> Tensor:
        """`hidden` of pairs without padding, as many sequences in either row: [1, N, D]."""
        raise NotImplementedError(f"{type(self).__name__} takes padded rows")

    @abstractmethod
    def start(self, source_BS: Tensor, lengths_B: Tensor) -> DecoderState:
        """Encode; the state before the first step, one hypothesis per sentence."""

    @abstractmethod
    def step_hidden(self, tokens_N: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        """One target position: what the output layer sees [N, D], and the next state."""

    @abstractmethod
    def belongs(self) -> Mapping[str, Belongs]:
        """Prefix (up to the first dot) of each state tensor's name → to what its rows belong."""

    def step(self, tokens_N: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        """One target position: logits [N, V] and the next state."""
        hidden_ND, state = self.step_hidden(tokens_N, state)
        return self.logits(hidden_ND), state

    def teacher_forced(self, source_BS: Tensor, lengths_B: Tensor, inputs_BT: Tensor) -> Tensor:
        """Logits [B, T, V] of every target position; arguments as for `hidden`."""
        return self.logits(self.hidden(source_BS, lengths_B, inputs_BT))

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits [..., V], in float32 at least."""
        weight, bias, product = self.output.weight, self.output_bias, self._product
        logits = linear(hidden, weight, bias) if product is None else product(hidden)
        return logits if logits.dtype == torch.double else logits.float()

    def prepare(self, precision: Precision) -> None:
        """Compute in this precision from now on, and never with gradients again.

        On a CPU weights in float32 are laid out beforehand. Small ones stay in float32, for
        rounding what they are multiplied with takes longer than int8 saves; parts of weights, as
        recurrent decoders use, stay as they are.
        """
        if precision == "bfloat16":
            self.bfloat16()
            return
        weight = self.output.weight
        if ONEDNN and weight.device.type == "cpu" and weight.dtype == torch.float32:
            self._product = Product(weight, self.output_bias, precision)
            for part in self.modules():
                if isinstance(part, Linear):
                    worth_it = precision == "float32" or part.weight.numel() >= _LARGE
                    part.product = Product(
                        part.weight, part.bias, precision if worth_it else "float32"
                    )

    def _kind(self, name: str) -> Belongs:
        declared = self.belongs()
        prefix = name.split(".", maxsplit=1)[0]
        assert prefix in declared, (
            f"{type(self).__name__}: state tensor {name} is not declared in belongs()"
        )
        return declared[prefix]

    def reorder(self, state: DecoderState, parents_N: Tensor) -> DecoderState:
        """The state after hypothesis n has become a continuation of hypothesis ``parents_N[n]``."""
        return {
            name: tensor.index_select(0, parents_N) if self._kind(name) is Belongs.BEAM else tensor
            for name, tensor in state.items()
        }

    def select(self, state: DecoderState, sentences: Tensor, beam: int) -> DecoderState:
        """The state of some of the sentences, ``beam`` hypotheses each."""
        rows_N = (sentences[:, None] * beam + torch.arange(beam, device=sentences.device)).flatten()
        index = {Belongs.BEAM: rows_N, Belongs.SENTENCE: sentences}
        return {
            name: tensor
            if (kind := self._kind(name)) is Belongs.STEP
            else tensor.index_select(0, index[kind])
            for name, tensor in state.items()
        }

    def bert_names(self) -> dict[str, str]:
        """Own parameter → its name inside our BERT, for those that can start from one."""
        return {}
