"""How gradients flow: through layers, back through time, and into updates; how noisy they are.

Shapes: B rows, D width of a recurrent state.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pipelines.diagnosis.problem import Problem
from pipelines.nn.plain import twice_differentiable
from pipelines.nn.recurrent.cells import Cell
from pipelines.training.update import layer_of


@dataclass(frozen=True)
class LayerFlow:
    """One layer's share in an update.

    Attributes:
        weights: length of its weights.
        gradient: length of its gradient.
        ratio: length of its matrices' step over theirs; 1e-3 is usual (Karpathy 2019), far below it
            nothing moves, far above it what was learnt is thrown over. Biases begin at 0 and say
            nothing; 0 for a layer of these alone.
    """

    weights: float
    gradient: float
    ratio: float


def by_layer(problem: Problem, gradient: Tensor, step: Tensor) -> dict[str, LayerFlow]:
    """Layer (`layer_of`) → its flow.

    Args:
        problem: whose weights.
        gradient: [P].
        step: what an update would add to the weights [P].
    """
    squares: dict[str, list[float]] = {}
    parts = [problem.unflat(vector) for vector in (problem.weights(), gradient, step)]
    for number, name in enumerate(problem.parameters):
        sums = squares.setdefault(layer_of(name), [0.0] * 4)
        weights, slope, change = (float(part[number].square().sum()) for part in parts)
        sums[0] += weights
        sums[1] += slope
        if parts[0][number].dim() > 1:
            sums[2] += weights
            sums[3] += change
    return {
        name: LayerFlow(w**0.5, g**0.5, (s / max(m, 1e-30)) ** 0.5)
        for name, (w, g, m, s) in squares.items()
    }


@dataclass(frozen=True)
class Noise:
    """How much gradients of single batches differ (McCandlish et al. 2018, appendix A.1).

    Attributes:
        scale: tr(Σ) / |G|², in rows: batches far below it learn as much per row as those at it,
            batches far above it waste rows. Infinite where no mean gradient is found.
        rows: of a batch in training.
    """

    scale: float
    rows: float


def noise_of(gradients: Sequence[Tensor], rows: float) -> Noise:
    """The simple noise scale from the gradients [P] of some batches of ``rows`` each.

    E|g|² = |G|² + tr(Σ) / rows for one batch, and with K times the rows for the mean of K; both
    together give |G|² and tr(Σ) without bias.
    """
    K = len(gradients)
    small = sum(float(gradient.square().sum()) for gradient in gradients) / K
    large = float(torch.stack(list(gradients)).mean(dim=0).square().sum())
    signal = (K * large - small) / (K - 1)
    variance = (small - large) * rows * K / (K - 1)
    return Noise(variance / signal if signal > 0 else float("inf"), rows)


def step_of(gradient: Tensor, rate: float, moment: tuple[Tensor, float] | None) -> Tensor:
    """What an update adds along a steady gradient: −η g / (√v + ε), or −η g.

    Args:
        gradient: g [P].
        rate: η; with heavy-ball or Nesterov momentum η / (1 − β), for a sum of steps.
        moment: v [P] and ε of a preconditioned optimizer.
    """
    if moment is None:
        return -rate * gradient
    return -rate * gradient / (moment[0].sqrt() + moment[1])


@dataclass(frozen=True)
class StepJacobian:
    """∂(state after) / ∂(state before) of one step of a recurrent layer, over rows and steps.

    Attributes:
        largest, median: singular values, means; where the largest stays below 1 gradients vanish,
            above 1 they may explode (Pascanu et al. 2013, section 2.1).
        power: growth of a gradient per step, the geometric mean over the steps of the sentence of
            how much a random vector grows.
    """

    largest: float
    median: float
    power: float


def step_jacobians(
    network: nn.Module, forward: Callable[[], Any], *, rows: int = 8, seed: int = 0
) -> dict[str, StepJacobian]:
    """Cell → its step's Jacobian at states of a forward pass; empty for networks without cells."""
    cells = {name: part for name, part in network.named_modules() if isinstance(part, Cell)}
    calls: dict[str, list[tuple[Tensor, tuple[Tensor, ...]]]] = {name: [] for name in cells}

    def keep(name: str) -> Callable[..., None]:
        return lambda _, inputs: calls[name].append(
            (inputs[0][:rows].detach(), tuple(part[:rows].detach() for part in inputs[1]))
        )

    handles = [part.register_forward_pre_hook(keep(name)) for name, part in cells.items()]
    with twice_differentiable(), torch.no_grad():
        forward()
    for handle in handles:
        handle.remove()
    return {name: _jacobian(cells[name], made, seed) for name, made in calls.items() if made}


def _jacobian(
    cell: Cell, calls: Sequence[tuple[Tensor, tuple[Tensor, ...]]], seed: int
) -> StepJacobian:
    stream = torch.Generator().manual_seed(seed)
    growth, largest, median = [], [], []
    vector: Tensor | None = None
    for number, (projected_BG, state) in enumerate(calls[::-1]):  # back through time
        joined_BD = torch.cat(state, dim=-1).requires_grad_()
        width = state[0].shape[-1]
        after_BD = torch.cat(cell(projected_BG, torch.split(joined_BD, width, dim=-1)), dim=-1)
        if vector is None:
            vector = torch.randn(after_BD.shape, generator=stream).to(after_BD)
            vector /= vector.norm(dim=-1, keepdim=True)
        keep = number in (1, len(calls) // 2)
        (back_BD,) = torch.autograd.grad(after_BD, joined_BD, vector, retain_graph=keep)
        length_B1 = back_BD.norm(dim=-1, keepdim=True).clamp(min=1e-30)
        growth.append(float(length_B1.log().mean()))
        vector = back_BD / length_B1
        if keep:
            values_BD = _singular_values(after_BD, joined_BD)
            largest.append(float(values_BD[:, 0].mean()))
            median.append(float(values_BD.median(dim=-1).values.mean()))
    mean = [sum(part) / max(1, len(part)) for part in (largest, median, growth)]
    return StepJacobian(mean[0], mean[1], float(torch.tensor(mean[2]).exp()))


def _singular_values(after_BD: Tensor, before_BD: Tensor) -> Tensor:
    """Of each row's Jacobian [B, D], the largest first: a row of it by each entry of ``after``."""
    rows = [
        torch.autograd.grad(after_BD[:, place].sum(), before_BD, retain_graph=True)[0]
        for place in range(after_BD.shape[-1])
    ]
    return torch.linalg.svdvals(torch.stack(rows, dim=1))


def by_distance(network: Any, lengths_B: Tensor, loss: Callable[[], Tensor]) -> dict[int, float]:
    """Tokens between a source's end and a token → mean norm of the loss's gradient there.

    For encoder-decoders alone; the loss is made on batches whose first source is ``lengths_B``
    long.
    """
    from pipelines.seq2seq.gradients import report_source_gradients

    told: dict[str, tuple[Tensor, Tensor | int]] = {}
    handle = report_source_gradients(network.source_embeddings, lengths_B, told.update)
    with torch.enable_grad():
        made = loss()
    handle.remove()
    torch.autograd.grad(made, list(network.parameters()), allow_unused=True)
    return {
        int(name.partition("/")[2]): float(total) / int(n)  # source_gradient/04
        for name, (total, n) in sorted(told.items())
        if int(n)
    }
