"""All measurements of one model, as numbers for JSON.

Everything is measured on training rows, without dropout and label noise of its own: the same
numbers each time.
"""

from collections.abc import Mapping
from dataclasses import asdict
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
from pipelines.diagnosis.stability import bound_of, stability
from pipelines.diagnosis.subject import Subject

Found = dict[str, Any]
Moment = tuple[Tensor, float]


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
    moment = _moment(subject)
    found |= _curvature(subject, problem, closely, moment, seed)
    found |= _flow(subject, problem, rows, gradients, moment)
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
        "recurrent": any("cell" in name for name in (model.section,))
        or getattr(subject.network, "encoder", None).__class__.__name__ == "Recurrent",
        "rate_key": f"{common if stage == 'bert' else model.section}.learning_rate",
        "schedule_key": f"{common}.schedule",
        "training_key": common,
        "batch_key": batch_key,
        **subject.baselines(),
    }


def _moment(subject: Subject) -> Moment | None:
    """The optimizer's own average of squared gradients, which a snapshot has, and its ε. A few
    batches cannot stand for it: where they have no gradient, its inverse would know no bound.
    """
    epsilon = float(getattr(subject.training.module.params.optimizer, "epsilon", 0.0))
    own = subject.second_moment()
    return None if own is None else (own, epsilon)


def _curvature(
    subject: Subject,
    problem: Problem,
    closely: Closely,
    moment: Moment | None,
    seed: int,
) -> Found:
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
        },
        "spectrum": hessian.for_json(),
        "gauss_newton": gauss_newton.for_json(),
        "point": asdict(point) | {"holds": point.holds},
    }
    bound = bound_of(subject.training.module.params.optimizer)
    rate = subject.learning_rate()
    if bound is not None and rate is not None and (moment is not None or not bound.preconditioned):
        held = stability(product, top.values[0], bound, rate, moment=moment, seed=seed)
        found["stability"] = asdict(held)
    return found


def _flow(
    subject: Subject,
    problem: Problem,
    rows: Any,
    gradients: list[Tensor],
    moment: Moment | None,
) -> Found:
    network, loss = subject.network, subject.loss_on(rows)
    bound = bound_of(subject.training.module.params.optimizer)
    step = torch.zeros_like(gradients[0])
    rate = subject.learning_rate()
    if bound is not None and rate is not None and (moment is not None or not bound.preconditioned):
        momentum = getattr(subject.training.module.params.optimizer, "momentum", 0.0)
        used = moment if bound.preconditioned else None
        step = step_of(gradients[0], rate / (1.0 - momentum), used)
    batch = subject.batches(1)[0]
    number = sum(1 for _ in batch.split(1))
    with Activations(network) as activations, torch.no_grad():
        problem.loss()
    found: Found = {
        "layers": {
            name: asdict(one) for name, one in by_layer(problem, gradients[0], step).items()
        },
        "noise": asdict(noise_of(gradients, number)),
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
