"""The loss on lines and planes through the space of weights."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pipelines.diagnosis.problem import Problem


@dataclass(frozen=True)
class Line:
    """The loss between two points (Goodfellow et al. 2015).

    Attributes:
        places: from 0 at the first to 1 at the second.
        losses: there.
        barrier: how far the loss rises above the chord between its ends, at most; 0 for none
            (Frankle et al. 2020, section 2).
        convex: it bends upwards everywhere, but for what float32 leaves in doubt.
    """

    places: list[float]
    losses: list[float]
    barrier: float
    convex: bool


def line(problem: Problem, start: Tensor, end: Tensor, points: int) -> Line:
    """The loss at so many equally spaced points from ``start`` [P] to ``end`` [P]."""
    places = torch.linspace(0, 1, points).tolist()
    losses = [problem.loss_at(torch.lerp(start, end, place)) for place in places]
    chord = [losses[0] + place * (losses[-1] - losses[0]) for place in places]
    doubt = 1e-5 * max(map(abs, losses))
    bends = [a - 2 * b + c for a, b, c in zip(losses, losses[1:], losses[2:], strict=False)]
    barrier = max(loss - other for loss, other in zip(losses, chord, strict=True))
    return Line(places, losses, max(0.0, barrier), min(bends, default=0.0) >= -doubt)


@dataclass(frozen=True)
class Plane:
    """The loss on a plane around a point.

    Attributes:
        axis: coordinates along both directions.
        losses: row by row, the second direction's coordinate first.
        trajectory: coordinates of other points, projected onto the plane.
        kept: share of each such point's distance that lies in the plane.
    """

    axis: list[float]
    losses: list[list[float]]
    trajectory: list[list[float]]
    kept: list[float]


def plane(
    problem: Problem,
    centre: Tensor,
    directions: Sequence[Tensor],
    points: int,
    trajectory: Sequence[Tensor] = (),
) -> Plane:
    """The loss at points × points places, one unit of each direction to all sides.

    Args:
        problem: the loss.
        centre: [P].
        directions: two vectors [P], orthogonal to each other.
        points: on each side; odd, so that the centre is one of them.
        trajectory: other points [P].
    """
    axis = torch.linspace(-1, 1, points).tolist()
    one, other = directions
    losses = [[problem.loss_at(centre + x * one + y * other) for x in axis] for y in axis]
    path, kept = [], []
    for point in trajectory:
        way = point - centre
        place = [float(way @ axis_ / axis_.square().sum()) for axis_ in directions]
        inside = (place[0] * one + place[1] * other).norm()
        path.append(place)
        kept.append(float(inside / way.norm().clamp(min=1e-12)))
    return Plane(axis, losses, path, kept)


def filter_normalised(problem: Problem, seed: int) -> list[Tensor]:
    """Two random directions, orthogonal to each other, that are to each filter what it is to
    itself (Li et al. 2018, section 4): each row of a matrix has the length of that row of the
    weights, so that a network whose layers are scaled looks the same. Biases and norms, of one
    dimension, stay.
    """
    stream = torch.Generator().manual_seed(seed)
    weights = problem.unflat(problem.weights())

    def draw() -> Tensor:
        rows = []
        for weight in weights:
            random = torch.randn(weight.shape, generator=stream).to(weight)
            if weight.dim() < 2:
                rows.append(torch.zeros_like(weight).flatten())
                continue
            lengths = [part.flatten(1).norm(dim=1) for part in (weight, random)]
            factor = lengths[0] / lengths[1].clamp(min=1e-12)
            rows.append((random.flatten(1) * factor[:, None]).flatten())
        return torch.cat(rows)

    one, other = draw(), draw()
    if not float(one.norm()):  # every weight is of one dimension: nothing to normalise by
        one, other = (torch.randn(len(one), generator=stream).to(one) for _ in range(2))
    return [one, _orthogonal(other, one)]


def principal(points: Sequence[Tensor], centre: Tensor, seed: int) -> list[Tensor]:
    """The two directions in which points [P] lie apart from ``centre`` most, long enough to reach
    the furthest (Li et al. 2018, section 7); a random one where they lie on a line.
    """
    ways = torch.stack([point - centre for point in points])
    _, sizes, axes = torch.linalg.svd(ways, full_matrices=False)
    reach = float((ways @ axes[0]).abs().max())
    one = axes[0]
    stream = torch.Generator().manual_seed(seed)
    flat = len(points) < 2 or float(sizes[1]) < 1e-3 * float(sizes[0])
    other = torch.randn(len(centre), generator=stream).to(centre) if flat else axes[1]
    other = _orthogonal(other, one)
    second = reach if flat else float((ways @ other).abs().max() / other.norm())
    return [1.2 * reach * one, 1.2 * max(second, 0.1 * reach) * other / other.norm()]


def _orthogonal(vector: Tensor, to: Tensor) -> Tensor:
    return vector - (vector @ to) / to.square().sum().clamp(min=1e-30) * to
