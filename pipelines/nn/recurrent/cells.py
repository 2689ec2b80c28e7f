"""Recurrent cells, written as their equations; gates stand in PyTorch's order,
so weights can be exchanged.

Shapes: B batch, X input width, D width, G gates.
"""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from pipelines.nn.cpu.linear import Linear

CellState = tuple[Tensor, ...]  # hidden state [B, D], for an LSTM also its memory cell [B, D]


class Cell(nn.Module, ABC):
    """One step of a recurrent layer.

    ``input`` and ``hidden`` hold the weights of all gates, [G·D, X] and [G·D, D]. The input's part,
    W x + b, does not depend on the step before, so a whole sequence's can be made by one product:
    `forward` is given it.

    Attributes:
        num_gates: G.
        num_states: tensors in a state.
        fused: PyTorch's kernel for a whole layer where it computes the same, else None.
    """

    num_gates: ClassVar[int]
    num_states: ClassVar[int] = 1
    fused: ClassVar[Any] = None

    def __init__(self, input_width: int, width: int) -> None:
        super().__init__()
        self.input = Linear(input_width, self.num_gates * width)
        self.hidden = Linear(width, self.num_gates * width)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -(width**-0.5), width**-0.5)

    @abstractmethod
    def forward(self, projected_BG: Tensor, state: CellState) -> CellState:
        """The next state, given W x + b [B, G·D] of this step's input."""

    def weights(self) -> list[Tensor]:
        """In the order PyTorch's kernels take them."""
        return [self.input.weight, self.hidden.weight, self.input.bias, self.hidden.bias]


class RnnCell(Cell):
    """H' = tanh(W x + b + U H + c) (Elman 1990)."""

    num_gates = 1
    fused = staticmethod(torch.rnn_tanh)

    def forward(self, projected_BG: Tensor, state: CellState) -> CellState:
        """See `Cell.forward`."""
        return (torch.tanh(projected_BG + self.hidden(state[0])),)


class LstmCell(Cell):
    """Hochreiter & Schmidhuber 1997 with the forget gate of Gers et al. 2000.

    I, F, O = σ(W x + b + U H + c), C̃ = tanh(W x + b + U H + c), C' = F ⊙ C + I ⊙ C̃, H' = O ⊙
    tanh(C').
    """

    num_gates = 4
    num_states = 2
    fused = staticmethod(torch.lstm)

    def forward(self, projected_BG: Tensor, state: CellState) -> CellState:
        """See `Cell.forward`."""
        hidden_BD, memory_BD = state
        gates_BG = projected_BG + self.hidden(hidden_BD)
        input_gate, forget_gate, candidate, output_gate = gates_BG.chunk(4, dim=-1)
        memory_BD = torch.sigmoid(forget_gate) * memory_BD + torch.sigmoid(input_gate) * torch.tanh(
            candidate
        )
        return torch.sigmoid(output_gate) * torch.tanh(memory_BD), memory_BD


class GruCell(Cell):
    """Cho et al. 2014, the reset gate after the product, as cuDNN and PyTorch have it.

    R, Z = σ(W x + b + U H + c), H̃ = tanh(W x + b + R ⊙ (U H + c)), H' = Z ⊙ H + (1 − Z) ⊙ H̃.
    """

    num_gates = 3
    fused = staticmethod(torch.gru)

    def forward(self, projected_BG: Tensor, state: CellState) -> CellState:
        """See `Cell.forward`."""
        (hidden_BD,) = state
        D = hidden_BD.shape[-1]
        recurrent_BG = self.hidden(hidden_BD)
        gates = torch.sigmoid(projected_BG[..., : 2 * D] + recurrent_BG[..., : 2 * D])
        reset, update = gates.chunk(2, dim=-1)
        candidate_BD = torch.tanh(projected_BG[..., 2 * D :] + reset * recurrent_BG[..., 2 * D :])
        return (candidate_BD + update * (hidden_BD - candidate_BD),)


class TextbookGruCell(Cell):
    """Cho et al. 2014, equations 5 to 8, the reset gate before the product:
    H̃ = tanh(W x + b + U (R ⊙ H) + c).
    """

    num_gates = 3

    def forward(self, projected_BG: Tensor, state: CellState) -> CellState:
        """See `Cell.forward`."""
        (hidden_BD,) = state
        D = hidden_BD.shape[-1]
        weight, bias = self.hidden.weight, self.hidden.bias
        recurrent = nn.functional.linear(hidden_BD, weight[: 2 * D], bias[: 2 * D])
        reset, update = torch.sigmoid(projected_BG[..., : 2 * D] + recurrent).chunk(2, dim=-1)
        recurrent = nn.functional.linear(reset * hidden_BD, weight[2 * D :], bias[2 * D :])
        candidate_BD = torch.tanh(projected_BG[..., 2 * D :] + recurrent)
        return (candidate_BD + update * (hidden_BD - candidate_BD),)
