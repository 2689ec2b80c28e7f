"""Layers of recurrent cells over whole sequences, or one step at a time.

Shapes: B batch, T length, X input width, D width, L layers, K directions.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from pipelines.nn.cpu.dropout import Dropout
from pipelines.nn.plain import is_plain
from pipelines.nn.recurrent.cells import Cell, CellState


class Recurrent(nn.Module):
    """A stack of layers, each in one or both directions.

    PyTorch's kernel does a layer where it computes the same as the cell, else the cell step by
    step. With gradients the kernel is told that it trains, whatever the module's mode: else cuDNN
    has no backward pass.

    Args:
        cell: kind of all cells.
        input_width: X.
        width: D, of each direction.
        num_layers: L.
        bidirectional: outputs are both directions', one beside the other.
        dropout: between layers.
    """

    def __init__(
        self,
        cell: type[Cell],
        input_width: int,
        width: int,
        *,
        num_layers: int,
        bidirectional: bool,
        dropout: float,
    ) -> None:
        super().__init__()
        self.num_directions = 2 if bidirectional else 1
        self.num_states = cell.num_states
        widths = [input_width, *[self.num_directions * width] * (num_layers - 1)]
        self.layers = nn.ModuleList(
            nn.ModuleList(cell(inner, width) for _ in range(self.num_directions))
            for inner in widths
        )
        self.dropout = Dropout(dropout)

    def forward(
        self, x_BTX: Tensor, lengths_B: Tensor | None = None, state: CellState | None = None
    ) -> tuple[Tensor, CellState]:
        """Outputs [B, T, K·D] and the last state, tensors of [B, L, K·D].

        Args:
            x_BTX: inputs.
            lengths_B: real steps of each row; outputs beyond them are 0. None: all rows are full.
            state: before the first step; zeros if None.
        """
        packed = None
        if lengths_B is not None:
            packed = pack_padded_sequence(
                x_BTX, lengths_B.cpu(), batch_first=True, enforce_sorted=False
            )
        by_steps = self._layers()[0][0].fused is None or is_plain()
        lasts = []
        for number, layer in enumerate(self._layers()):
            if number:
                x_BTX = self.dropout(x_BTX)
                packed = None if packed is None else packed._replace(data=self.dropout(packed.data))
            before = self._before(
                layer[0], x_BTX, None if state is None else [part[:, number] for part in state]
            )
            if by_steps:
                x_BTX, last = _by_steps(layer, x_BTX, lengths_B, before)
            elif packed is None:
                x_BTX, last = _fused(layer, x_BTX, before)
            else:
                packed, last = _fused_packed(layer, packed, before)
            lasts.append(last)
        if packed is not None and not by_steps:
            x_BTX, _ = pad_packed_sequence(packed, batch_first=True, total_length=x_BTX.shape[1])
        return x_BTX, tuple(torch.stack(part, dim=1) for part in zip(*lasts, strict=True))

    def step(self, projected_BG: Tensor, state: CellState) -> tuple[Tensor, CellState]:
        """One step of a stack in one direction: the top layer's output [B,
        D] and the next state [B, L, D].

        Args:
            projected_BG: W x + b of the first layer, see `Cell`.
            state: tensors of [B, L, D].
        """
        afters: list[CellState] = []
        for number, (cell,) in enumerate(self._layers()):
            if number:
                projected_BG = cell.input(self.dropout(afters[-1][0]))
            afters.append(cell(projected_BG, tuple(part[:, number] for part in state)))
        return afters[-1][0], tuple(torch.stack(part, dim=1) for part in zip(*afters, strict=True))

    def _layers(self) -> list[list[Cell]]:
        return [list(layer) for layer in self.layers]  # type: ignore[call-overload]

    def _before(self, cell: Cell, x_BTX: Tensor, state: list[Tensor] | None) -> list[Tensor]:
        """The state before the first step, one tensor [K, B, D] each."""
        K, D = self.num_directions, cell.hidden.in_features
        if state is None:
            return [x_BTX.new_zeros(K, len(x_BTX), D)] * self.num_states
        return [part.view(-1, K, D).transpose(0, 1).contiguous() for part in state]


def _fused(layer: Sequence[Cell], x_BTX: Tensor, before: list[Tensor]) -> tuple[Tensor, CellState]:
    """One layer by PyTorch's kernel: outputs and last state [B, K·D] each."""
    cell, weights = layer[0], [weight for cell in layer for weight in cell.weights()]
    start = before if len(before) > 1 else before[0]
    y_BTD, *last = cell.fused(
        x_BTX, start, weights, True, 1, 0.0, torch.is_grad_enabled(), len(layer) > 1, True
    )
    return y_BTD, tuple(part.transpose(0, 1).flatten(1) for part in last)


def _fused_packed(
    layer: Sequence[Cell], packed: PackedSequence, before: list[Tensor]
) -> tuple[PackedSequence, CellState]:
    """The same on rows of different lengths."""
    cell, weights = layer[0], [weight for cell in layer for weight in cell.weights()]
    assert packed.sorted_indices is not None
    assert packed.unsorted_indices is not None
    start = [part.index_select(1, packed.sorted_indices) for part in before]
    data, *last = cell.fused(
        packed.data, packed.batch_sizes, start if len(start) > 1 else start[0], weights, True, 1,
        0.0,
        torch.is_grad_enabled(), len(layer) > 1,
    )  # fmt: skip
    lasts = tuple(
        part.index_select(1, packed.unsorted_indices).transpose(0, 1).flatten(1) for part in last
    )
    return packed._replace(data=data), lasts


def _by_steps(
    layer: Sequence[Cell], x_BTX: Tensor, lengths_B: Tensor | None, before: list[Tensor]
) -> tuple[Tensor, CellState]:
    """One layer by its cells; a row's state stands still beyond its length."""
    T = x_BTX.shape[1]
    outputs, lasts = [], []
    for direction, cell in enumerate(layer):
        projected_BTG, state = cell.input(x_BTX), tuple(part[direction] for part in before)
        made: list[Tensor] = []
        for t in range(T) if direction == 0 else reversed(range(T)):
            after = cell(projected_BTG[:, t], state)
            if lengths_B is not None:
                real_B1 = (t < lengths_B.to(x_BTX.device))[:, None]
                after = tuple(
                    torch.where(real_B1, new, old) for new, old in zip(after, state, strict=True)
                )
                made.append(after[0] * real_B1)
            else:
                made.append(after[0])
            state = after
        outputs.append(torch.stack(made if direction == 0 else made[::-1], dim=1))
        lasts.append(state)
    return torch.cat(outputs, dim=-1), tuple(
        torch.cat(part, dim=-1) for part in zip(*lasts, strict=True)
    )
