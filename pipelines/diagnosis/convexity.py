"""Whether a problem is convex: known for some, refuted by a counterexample for others.

Linear regression and softmax regression are convex in their weights: a sum of squares, and of log
Σ exp, of linear functions (Boyd & Vandenberghe 2004, section 3.1.5). So is the last layer of every
network here, on features that stand still. The network as a whole is not.
"""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from pipelines.diagnosis.curvature import lanczos
from pipelines.diagnosis.problem import Problem


@dataclass(frozen=True)
class Convexity:
    """What was found at some points.

    Attributes:
        lowest: the smallest Ritz value of the Hessian at any of the points, as a share of the
            largest there; an eigenvalue is no larger.
        above_chord: how far the loss between two points lies above the chord, at most, as a share
            of the loss there; negative where it lies below, as of a convex function.
        counterexample: what refutes convexity, in words; empty where nothing does.
    """

    lowest: float
    above_chord: float
    counterexample: str


def examine(
    problem: Problem, points: list[Tensor], *, steps: int = 8, doubt: float = 1e-4
) -> Convexity:
    """Look for a counterexample to convexity: a direction that bends downwards at one of the points
    [P], or a chord between two of them that lies below the loss.

    Args:
        problem: the loss.
        points: where to look.
        steps: products with the Hessian at each.
        doubt: what rounding may do, relative.
    """
    lowest, found = 0.0, ""
    for number, point in enumerate(points):
        with problem.at(point):
            stream = torch.Generator().manual_seed(number)
            start = torch.randn(len(point), generator=stream).to(point)
            ritz = lanczos(problem.hessian_product, start, steps).values()
        share = float(ritz[0] / max(abs(ritz[0]), abs(ritz[-1]), 1e-30))
        lowest = min(lowest, share)
        if share < -doubt and not found:
            found = f"at point {number} a direction bends downwards, λ = {float(ritz[0]):.3g}"
    above, place = _above_chords(problem, points)
    if above > doubt:
        found = found or f"between points {place[0]} and {place[1]} the loss lies above its chord"
    return Convexity(lowest, above, found)


def _above_chords(problem: Problem, points: list[Tensor]) -> tuple[float, tuple[int, int]]:
    """How far the loss lies above a chord between two points in a row, at most, and which."""
    worst, place = float("-inf"), (0, 0)
    losses = [problem.loss_at(point) for point in points]
    for number in range(len(points) - 1):
        ends = losses[number], losses[number + 1]
        for share in (0.25, 0.5, 0.75):
            between = problem.loss_at(torch.lerp(points[number], points[number + 1], share))
            chord = ends[0] + share * (ends[1] - ends[0])
            above = (between - chord) / max(map(abs, (*ends, 1e-12)))
            if above > worst:
                worst, place = above, (number, number + 1)
    return worst, place


def softmax_regression(features_ND: Tensor, labels_N: Tensor, classes: int) -> Problem:
    """Multinomial logistic regression on features that stand still; weights start at 0.

    Shapes: N examples, D features.
    """
    D = features_ND.shape[1]
    weight = torch.zeros(classes, D, dtype=features_ND.dtype, device=features_ND.device)
    bias = torch.zeros(classes, dtype=features_ND.dtype, device=features_ND.device)
    named = {"weight": weight.requires_grad_(), "bias": bias.requires_grad_()}
    return Problem(
        named,
        [lambda: F.cross_entropy(F.linear(features_ND, weight, bias), labels_N)],
        "softmax regression",
    )


def linear_regression(features_ND: Tensor, targets_N: Tensor) -> Problem:
    """Least squares on features that stand still; weights start at 0."""
    weight = torch.zeros(features_ND.shape[1], dtype=features_ND.dtype, device=features_ND.device)
    weight.requires_grad_()
    return Problem(
        {"weight": weight},
        [lambda: (features_ND @ weight - targets_N).square().mean()],
        "linear regression",
    )


def last_layer(features_ND: Tensor, labels_N: Tensor, *, seed: int) -> dict[str, Any]:
    """The two regressions on a network's last features, and what was found at random points.

    Of more than 16 labels the commonest stay.
    """
    values, counts = torch.unique(labels_N, return_counts=True)
    kept = values[counts.argsort(descending=True)[:16]].sort().values
    rows = torch.isin(labels_N, kept)
    features, labels = features_ND[rows][:512], torch.searchsorted(kept, labels_N[rows][:512])
    stream = torch.Generator().manual_seed(seed)
    found = {}
    for problem in (
        softmax_regression(features, labels, max(2, len(kept))),
        linear_regression(features, (labels == 0).to(features.dtype)),
    ):
        scale = 1.0 / float(features.norm(dim=1).mean().clamp(min=1e-12))
        size = problem.num_weights
        points = [torch.randn(size, generator=stream).to(features) * scale for _ in range(4)]
        found[problem.what] = asdict(examine(problem, points))
    return found
