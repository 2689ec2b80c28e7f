"""All measurements of one model, as numbers for JSON.

Everything is measured on training rows, without dropout and label noise of its own: the same
numbers each time.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from pipelines.diagnosis.activations import Activations
from pipelines.diagnosis.convexity import examine as examine_convexity
from pipelines.diagnosis.convexity import last_layer
from pipelines.diagnosis.curvature import eigenpairs, kind_of_point, spectrum
from pipelines.diagnosis.flow import by_distance, by_layer, noise_of, step_jacobians, step_of
from pipelines.diagnosis.landscape import filter_normalised, line, plane, principal
from pipelines.diagnosis.params import Closely
from pipelines.diagnosis.problem import Problem
from pipelines.diagnosis.stability import Bound, bound_of, stability
from pipelines.diagnosis.subject import Subject, rows_of

Found = dict[str, Any]


def examine(subject: Subject, closely: Closely, seed: int) -> Found:
    """Loss, curvature, stability, gradient flow, landscape, convexity.

    Args:
        subject: the model.
        closely: how closely.
        seed: of directions.
    """
    batches = subject.batches(1 + closely.batches)
    rows = next(iter(batches[0].split(closely.rows)))
    problem = subject.problem(rows)
    found = _loss(subject, problem, rows)
    gradients = [subject.gradient_on(batch) for batch in batches[1:]]
    pace = _pace(subject)
    found |= _curvature(problem, closely, pace, seed)
    found |= _flow(subject, problem, rows, gradients, pace)
    found["noise"] = asdict(noise_of(gradients, rows_of(batches[1])))
    if closely.points:
        found |= _landscape(subject, problem, closely.points, seed)
    return found


def _loss(subject: Subject, problem: Problem, rows: Any) -> Found:
    model, module = subject.model, subject.training.module
    stage, _ = model.training
    common = "bert.training" if stage == "bert" else f"{stage}.common"
    with torch.no_grad():
        measured = module.losses(rows).measured
    total, weight = measured["mlm_loss" if stage == "bert" else "loss"]
    batch_key = "bert.phases[0].batch_size" if stage == "bert" else f"{common}.batch_size"
    return {
        "section": model.section,
        "update": subject.update,
        "weights": problem.num_weights,
        "loss": float(total) / max(1.0, float(weight)),
        "objective": problem.loss(),
        "learning_rate": subject.learning_rate(),
        "peak_rate": module.learning_rate,
        "rate_key": f"{common if stage == 'bert' else model.section}.learning_rate",
        "schedule_key": f"{common}.schedule",
        "training_key": common,
        "batch_key": batch_key,
        **subject.baselines(),
    }


@dataclass(frozen=True)
class _Pace:
    """How an optimizer steps at the update that is looked at.

    Attributes:
        rate: the learning rate.
        bound: see `bound_of`.
        momentum: β of heavy-ball and Nesterov momentum, else 0.
        moment: average of squared gradients [P] and ε, of a preconditioned optimizer.
    """

    rate: float
    bound: Bound
    momentum: float
    moment: tuple[Tensor, float] | None


def _pace(subject: Subject) -> _Pace | None:
    """None where it is not known: for an optimizer without a bound, weights of no one update, and
    preconditioned optimizers without a snapshot. A few batches cannot stand for the average of
    squared gradients: where they have no gradient, its inverse would know no bound.
    """
    optimizer = subject.training.module.params.optimizer
    bound, rate = bound_of(optimizer), subject.learning_rate()
    if bound is None or rate is None:
        return None
    if not bound.preconditioned:
        return _Pace(rate, bound, getattr(optimizer, "momentum", 0.0), None)
    own = subject.second_moment()
    return None if own is None else _Pace(rate, bound, 0.0, (own, optimizer.epsilon))


def _curvature(problem: Problem, closely: Closely, pace: _Pace | None, seed: int) -> Found:
    product, like = problem.hessian_product, problem.weights()
    top = eigenpairs(product, like, closely.eigenvalues, seed=seed)
    steps = closely.lanczos_steps
    hessian = spectrum(product, like, steps=steps, seed=seed)
    gauss_newton = spectrum(problem.gauss_newton_product, like, steps=steps, seed=seed)
    point = kind_of_point(problem, hessian, top.values[0])
    found: Found = {
        "eigenvalues": {
            "largest": top.values,
            "residuals": top.residuals,
            "smallest": hessian.lowest.values,
            "smallest_residuals": hessian.lowest.residuals,
        },
        "spectrum": hessian.for_json(),
        "gauss_newton": gauss_newton.for_json(),
        "point": asdict(point) | {"holds": point.holds},
    }
    if pace is not None:
        held = stability(
            product, top.values[0], pace.bound, pace.rate, moment=pace.moment, seed=seed
        )
        found["stability"] = asdict(held)
    return found


def _flow(
    subject: Subject,
    problem: Problem,
    rows: Any,
    gradients: list[Tensor],
    pace: _Pace | None,
) -> Found:
    network, loss = subject.network, subject.loss_on(rows)
    step = torch.zeros_like(gradients[0])
    if pace is not None:
        step = step_of(gradients[0], pace.rate / (1.0 - pace.momentum), pace.moment)
    with Activations(network) as activations, torch.no_grad():
        problem.loss()
    found: Found = {
        "layers": {
            name: asdict(one) for name, one in by_layer(problem, gradients[0], step).items()
        },
        "saturated": {kind: activations.of_kind(kind) for kind in ("tanh", "sigmoid", "relu")},
        "saturated_in": activations.shares(),
        "step_jacobians": {
            name: asdict(one) for name, one in step_jacobians(network, loss).items()
        },
    }
    if hasattr(rows, "source_lengths_B"):
        found["by_distance"] = by_distance(network, rows.source_lengths_B, loss)
    return found


def _landscape(subject: Subject, problem: Problem, points: int, seed: int) -> Found:
    """The way from the start by way of the snapshots, and the surroundings."""
    here = problem.weights()
    path = [one for one in subject.trajectory() if one[0] < subject.update]
    stops = [*path, (subject.update, here)]
    lines = [
        {"from": a, "to": b, **asdict(line(problem, one, other, points))}
        for (a, one), (b, other) in pairwise(stops)
    ]
    places = [place for _, place in path]
    around = plane(problem, here, filter_normalised(problem, seed), points, places)
    found: Found = {"lines": lines, "surroundings": asdict(around)}
    if path:
        way = plane(problem, here, principal(places, here, seed), points, places)
        found["way"] = {**asdict(way), "updates": [update for update, _ in path]}
    found["convexity"] = _convexity(problem, [*places[:1], here], seed)
    return found


def _convexity(problem: Problem, points: list[Tensor], seed: int) -> Mapping[str, Any]:
    """The network's own, and its last layer's on features that stand still."""
    found: Found = {"network": asdict(examine_convexity(problem, points))}
    for scores in problem.scores():
        if scores.features is not None and scores.labels is not None:
            found |= last_layer(scores.features, scores.labels, seed=seed)
            break
    return found
