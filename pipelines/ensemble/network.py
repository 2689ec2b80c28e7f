"""Several models searched as one.

Shapes: B sentences, W beam, N = B·W hypotheses, S source length, T target length, V vocabulary.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pipelines.models.protocol.model import DecoderState, Seq2SeqModel
from pipelines.nn.cpu.linear import Precision


class Ensemble(nn.Module):
    """Log of the members' mean probability, P(y_t | y_<t, x) = Σ P_m(y_t | y_<t, x) / M
    (Sutskever et al. 2014).

    Members keep their own states; names in an ensemble's state begin with the member's number.

    Args:
        members: of one vocabulary, of whatever families.

    Raises:
        ValueError: the vocabularies differ in size.
    """

    def __init__(self, members: Sequence[Seq2SeqModel]) -> None:
        super().__init__()
        sizes = [len(member.output.weight) for member in members]
        if len(set(sizes)) != 1:
            raise ValueError(
                f"Ensemble: vocabularies ({sizes}) must be one; train all members on the same "
                "data/shards"
            )
        self.members = nn.ModuleList(members)
        self._models = list(members)

    def prepare(self, precision: Precision) -> None:
        """See `Seq2SeqModel.prepare`."""
        for member in self._models:
            member.prepare(precision)

    def start(self, source_BS: Tensor, lengths_B: Tensor) -> DecoderState:
        """See `Seq2SeqModel.start`."""
        return _joined([member.start(source_BS, lengths_B) for member in self._models])

    def step_hidden(self, tokens_N: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        """What the members' output layers see, side by side, and the next state."""
        parts = zip(self._models, self._parts(state), strict=True)
        hidden, after = zip(
            *(member.step_hidden(tokens_N, part) for member, part in parts), strict=True
        )
        return torch.cat(hidden, dim=1), _joined(after)

    def logits(self, hidden: Tensor) -> Tensor:
        """Log of the members' mean probability of each next token, [..., V]."""
        parts = torch.split(
            hidden, [member.output.weight.shape[1] for member in self._models], dim=-1
        )
        return _mean(
            [member.logits(part) for member, part in zip(self._models, parts, strict=True)]
        )

    def teacher_forced(self, source_BS: Tensor, lengths_B: Tensor, inputs_BT: Tensor) -> Tensor:
        """Log-probabilities [B, T, V]; see `Seq2SeqModel.teacher_forced`."""
        return _mean(
            [member.teacher_forced(source_BS, lengths_B, inputs_BT) for member in self._models]
        )

    def reorder(self, state: DecoderState, parents_N: Tensor) -> DecoderState:
        """See `Seq2SeqModel.reorder`."""
        parts = zip(self._models, self._parts(state), strict=True)
        return _joined([member.reorder(part, parents_N) for member, part in parts])

    def select(self, state: DecoderState, sentences: Tensor, beam: int) -> DecoderState:
        """See `Seq2SeqModel.select`."""
        parts = zip(self._models, self._parts(state), strict=True)
        return _joined([member.select(part, sentences, beam) for member, part in parts])

    def _parts(self, state: DecoderState) -> list[DecoderState]:
        parts: list[DecoderState] = [{} for _ in self._models]
        for name, tensor in state.items():
            number, _, own = name.partition(".")
            parts[int(number)][own] = tensor
        return parts


def _joined(states: Sequence[DecoderState]) -> DecoderState:
    return {
        f"{number}.{name}": tensor
        for number, state in enumerate(states)
        for name, tensor in state.items()
    }


def _mean(logits: Sequence[Tensor]) -> Tensor:
    """Log of the mean of softmaxes."""
    members = torch.stack([each.log_softmax(dim=-1) for each in logits])
    return members.logsumexp(dim=0) - math.log(len(members))
