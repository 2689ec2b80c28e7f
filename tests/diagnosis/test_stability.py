"""The step that is too large: on quadratics the prediction is exact."""

import pytest
import torch
from pydantic import TypeAdapter
from torch import nn

from pipelines.diagnosis.curvature import eigenpairs
from pipelines.diagnosis.stability import Bound, bound_of, preconditioned, stability
from pipelines.optim.optimizers import build_optimizer
from pipelines.optim.params import Optimizer
from tests.diagnosis.functions import of_function

SHARPNESS = 7.0


def section(name, **settings):
    return TypeAdapter(Optimizer).validate_python({"name": name, "weight_decay": 0.0, **settings})


class Place(nn.Module):
    """One number on ½ λ x²."""

    def __init__(self):
        super().__init__()
        self.x = nn.Parameter(torch.ones(1, 1, dtype=torch.float64))


def furthest(optimizer, rate, steps=400):
    """|x| at the end, of a start at 1."""
    place = Place()
    steps_of = build_optimizer(place, optimizer, rate)
    for _ in range(steps):
        steps_of.zero_grad()
        (0.5 * SHARPNESS * place.x.square()).sum().backward()
        steps_of.step()
    return place.x.abs().item()


@pytest.mark.parametrize(
    ("optimizer", "factor"),
    [
        (section("sgd"), 2.0),
        (section("momentum", momentum=0.9), 3.8),
        (section("momentum", momentum=0.5), 3.0),
        (section("nesterov", momentum=0.9), 3.8 / 2.8),
    ],
)
def test_descent_converges_just_below_the_bound_and_diverges_just_above(optimizer, factor):
    bound = bound_of(optimizer)
    assert bound == Bound(pytest.approx(factor), preconditioned=False)
    largest = bound.factor / SHARPNESS
    assert furthest(optimizer, 0.98 * largest) < 1.0
    assert furthest(optimizer, 1.02 * largest) > 50.0


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.9])
def test_adams_bound_is_of_the_preconditioned_curvature(beta):
    """Adam's recurrence with v at rest (Cohen et al. 2022, section 3): m ← β m + (1 − β) g,
    x ← x − η m / (√v + ε); it grows just above (2 + 2β) / ((1 − β) λ) with λ = H / (√v + ε).
    """
    optimizer = section("adam", beta1=beta, beta2=0.999, epsilon=1e-8)
    bound = bound_of(optimizer)
    assert bound.factor == pytest.approx((2 + 2 * beta) / (1 - beta))
    root = 3.0
    for share, grows in ((0.98, False), (1.02, True)):
        rate = share * bound.factor / (SHARPNESS / root)
        x, m = 1.0, 0.0
        for _ in range(3000):
            m = beta * m + (1 - beta) * SHARPNESS * x
            x -= rate * m / root
        assert (abs(x) > 1.0) == grows


def test_adams_bound_at_its_usual_momentum_is_38():
    optimizer = section("adamw", beta1=0.9, beta2=0.98, epsilon=1e-8, bias_correction=True)
    assert bound_of(optimizer) == Bound(pytest.approx(38.0), preconditioned=True)


def test_no_bound_is_told_where_none_is_known():
    adam = {"beta1": 0.9, "beta2": 0.98, "epsilon": 1e-8}
    assert bound_of(section("lamb", **adam, bias_correction=True)) is None
    assert bound_of(section("muon", momentum=0.95, **adam)) is None
    rms = section("rmsprop", beta=0.98, epsilon=1e-8)
    assert bound_of(rms) == Bound(2.0, preconditioned=True)


def test_preconditioned_curvature_has_the_eigenvalues_of_the_product():
    torch.manual_seed(0)
    root = torch.randn(9, 9, dtype=torch.float64)
    matrix, moment = root @ root.T, torch.rand(9, dtype=torch.float64)
    exact = torch.linalg.eigvals(matrix / (moment.sqrt() + 1e-3)[:, None]).real.max()
    product = preconditioned(lambda vector: matrix @ vector, moment, 1e-3)
    assert eigenpairs(product, moment, 1).values[0] == pytest.approx(exact.item())


def test_a_rate_is_held_against_both_curvatures():
    problem = of_function(lambda x, y: 0.5 * (x.square() + 25 * y.square()), 1.0, 1.0)
    vector = problem.weights()
    plain = stability(problem.hessian_product, 25.0, Bound(2.0, preconditioned=False), 0.16)
    assert plain.largest_stable == pytest.approx(0.08)
    assert plain.ratio == pytest.approx(2.0)
    moment = torch.tensor([1.0, 25.0**2], dtype=vector.dtype), 0.0
    both = stability(
        problem.hessian_product, 25.0, Bound(38.0, preconditioned=True), 0.38, moment=moment
    )
    assert both.preconditioned_sharpness == pytest.approx(1.0)  # each direction by its own size
    assert both.ratio == pytest.approx(0.01)


def test_momentums_effective_step_is_that_over_one_less_momentum():
    """Along a steady slope x falls by η g / (1 − β) an update, once it has its speed."""

    class Slope(nn.Module):
        def __init__(self):
            super().__init__()
            self.x = nn.Parameter(torch.zeros(1, 1, dtype=torch.float64))

    place = Slope()
    steps_of = build_optimizer(place, section("momentum", momentum=0.9), 0.01)
    places = []
    for _ in range(300):
        steps_of.zero_grad()
        (2.0 * place.x).sum().backward()
        steps_of.step()
        places.append(place.x.item())
    assert places[-2] - places[-1] == pytest.approx(0.01 * 2.0 / (1 - 0.9), rel=1e-6)
    assert -places[0] == pytest.approx(0.01 * 2.0)


@pytest.mark.parametrize(
    ("corrected", "expected"),
    [(True, [1.0, 1.0, 1.0]), (False, [0.7071, 0.9541, 1.1175])],
)
def test_adams_first_steps_with_and_without_correction(corrected, expected):
    """Of a steady gradient, in learning rates, β₁ = 0.9, β₂ = 0.98: corrected each is 1 (Kingma &
    Ba 2015, section 2.1); uncorrected (1 − 0.9ᵗ) / √(1 − 0.98ᵗ), too long before v has grown.
    """
    settings = {"beta1": 0.9, "beta2": 0.98, "epsilon": 1e-12, "bias_correction": corrected}
    place, rate, taken, before = Place(), 1e-3, [], 1.0
    steps_of = build_optimizer(place, section("adamw", **settings), rate)
    for _ in range(3):
        steps_of.zero_grad()
        (5.0 * place.x).sum().backward()
        steps_of.step()
        taken.append((before - place.x.item()) / rate)
        before = place.x.item()
    by_formula = [(1 - 0.9**t) / (1 - 0.98**t) ** 0.5 for t in (1, 2, 3)]
    assert taken == pytest.approx([1.0] * 3 if corrected else by_formula, rel=1e-4)
    assert taken == pytest.approx(expected, rel=1e-3)
