"""Curvature against closed forms, exact Hessians, and another public tool."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from pipelines.diagnosis.curvature import eigenpairs, kind_of_point, lanczos, spectrum
from pipelines.diagnosis.pictures import smoothed
from pipelines.diagnosis.problem import Problem, flat, learnable
from pipelines.laboratory.functions import FUNCTIONS
from pipelines.nn.plain import seen
from tests.diagnosis.functions import of_function


def _problem_of(network, inputs, targets, **more):
    def loss():
        return F.cross_entropy(seen(network(inputs)), targets)

    return Problem(learnable(network), [loss], **more)


def _classifier(*widths, dtype=torch.float64, seed=0, activation=torch.nn.Tanh):
    torch.manual_seed(seed)
    parts = []
    for one, other in itertools.pairwise(widths):
        parts += [torch.nn.Linear(one, other, dtype=dtype), activation()]
    return torch.nn.Sequential(*parts[:-1])


@pytest.fixture
def small():
    network = _classifier(5, 8, 4)
    torch.manual_seed(1)
    return _problem_of(network, torch.randn(30, 5).double(), torch.randint(0, 4, (30,)))


def _exact(problem):
    """By PyTorch's own functional Hessian of the loss of all weights together."""
    shapes = {name: weight.shape for name, weight in problem.parameters.items()}

    def loss(vector):
        pieces = torch.split(vector, [math.prod(shape) for shape in shapes.values()])
        named = dict(zip(shapes, pieces, strict=True))
        hidden = torch.tanh(F.linear(_X, named["0.weight"].view(8, 5), named["0.bias"]))
        return F.cross_entropy(F.linear(hidden, named["2.weight"].view(4, 8), named["2.bias"]), _Y)

    torch.manual_seed(1)
    _X, _Y = torch.randn(30, 5).double(), torch.randint(0, 4, (30,))
    return torch.autograd.functional.hessian(loss, problem.weights())


def test_products_and_eigenvalues_are_those_of_the_exact_hessian(small):
    exact = _exact(small)
    vector = torch.randn(small.num_weights, dtype=torch.float64)
    torch.testing.assert_close(small.hessian_product(vector), exact @ vector)
    values = torch.linalg.eigvalsh(exact)
    top = eigenpairs(small.hessian_product, vector, 5, tolerance=1e-8)
    assert top.values == pytest.approx(values.flip(0)[:5].tolist(), rel=1e-4)
    low = eigenpairs(lambda v: -small.hessian_product(v), vector, 2, tolerance=1e-8)
    assert low.values == pytest.approx((-values[:2]).tolist(), rel=1e-4)
    for value, direction, residual in zip(top.values, top.vectors, top.residuals, strict=True):
        apart = (exact @ direction - value * direction).norm()
        assert apart == pytest.approx(residual, abs=1e-12)
        assert residual < 1e-4 * abs(value)


def test_density_has_the_trace_and_the_negative_share_of_the_exact_hessian(small):
    values = torch.linalg.eigvalsh(_exact(small))
    found = spectrum(
        small.hessian_product, small.weights(), steps=small.num_weights, probes=40, seed=3
    )
    assert sum(found.weights) == pytest.approx(1.0)
    assert found.trace == pytest.approx(values.sum().item(), abs=3 * found.trace_error)
    share = (values.clamp(max=0).abs().sum() / values.abs().sum()).item()
    assert found.negative_share == pytest.approx(share, abs=0.05)
    assert found.lowest.values[0] == pytest.approx(values[0].item(), rel=1e-4)
    places = np.linspace(-3, 3, 3001)
    density = smoothed(np.array(found.values), np.array(found.weights), places, 0.05)
    assert density.sum() * (places[1] - places[0]) == pytest.approx(1.0, abs=1e-3)


def test_gauss_newton_is_the_jacobian_around_the_losses_curvature(small):
    """Jᵀ (diag p − p pᵀ) J / N with the exact Jacobian, which has no negative eigenvalue."""
    parameters = list(small.parameters.values())
    logits = small.scores()[0].logits
    chances = logits.softmax(dim=-1)
    torch.manual_seed(1)
    inputs = torch.randn(30, 5).double()
    rows = []
    hidden = torch.tanh(F.linear(inputs, parameters[0], parameters[1]))
    again = F.linear(hidden, parameters[2], parameters[3])
    for row in again.flatten():
        rows.append(flat(torch.autograd.grad(row, parameters, retain_graph=True)))
    jacobian = torch.stack(rows).view(30, 4, -1)
    curved = torch.diag_embed(chances) - chances[:, :, None] * chances[:, None]
    exact = torch.einsum("nap,nab,nbq->pq", jacobian, curved, jacobian) / 30
    vector = torch.randn(small.num_weights, dtype=torch.float64)
    torch.testing.assert_close(small.gauss_newton_product(vector), exact @ vector)
    assert eigenpairs(lambda v: -small.gauss_newton_product(v), vector, 1).values[0] < 1e-9


def test_a_kept_graph_and_several_parts_give_the_same_products(small):
    network, vector = _classifier(5, 8, 4), torch.randn(small.num_weights, dtype=torch.float64)
    torch.manual_seed(1)
    inputs, targets = torch.randn(30, 5).double(), torch.randint(0, 4, (30,))
    parts = [
        lambda n=n: F.cross_entropy(seen(network(inputs[n::3])), targets[n::3]) / 3
        for n in range(3)
    ]
    several = Problem(learnable(network), parts)
    for kind in ("hessian_product", "gauss_newton_product"):
        whole = getattr(small, kind)(vector)
        torch.testing.assert_close(getattr(small, kind)(vector), whole)
        torch.testing.assert_close(getattr(several, kind)(vector), whole)
    torch.testing.assert_close(several.gradient(), small.gradient())
    before = small.loss()
    with small.at(small.weights() + 1):
        assert small.loss() != before
    assert small.loss() == before


CLOSED = [  # of the functions in pipelines/laboratory/functions.py: place → eigenvalues
    ("quadratic", (3.0, -2.0), (1.0, 25.0)),
    ("saddle", (0.5, 0.5), (-2.0, 2.0)),
    ("monkey saddle", (1.0, 0.0), (-6.0, 6.0)),
    ("monkey saddle", (0.0, 0.0), (0.0, 0.0)),
    ("rosenbrock", (1.0, 1.0), (501 - math.sqrt(501**2 - 400), 501 + math.sqrt(501**2 - 400))),
]


@pytest.mark.parametrize(("name", "place", "values"), CLOSED)
def test_eigenvalues_of_textbook_functions(name, place, values):
    """Rosenbrock at its minimum: trace 1002, determinant 400, so λ = 501 ∓ √(501² − 400)."""
    problem = of_function(FUNCTIONS[name].of, *place)
    found = eigenpairs(problem.hessian_product, problem.weights(), 2)
    assert sorted(found.values) == pytest.approx(values, rel=1e-4, abs=1e-9)


@pytest.mark.parametrize(
    ("name", "place", "kind"),
    [
        ("quadratic", (0.0, 0.0), "minimum"),
        ("rosenbrock", (1.0, 1.0), "minimum"),
        ("saddle", (0.0, 0.0), "saddle"),
        ("monkey saddle", (0.0, 0.0), "plateau"),
    ],
)
def test_kind_of_point(name, place, kind):
    problem = of_function(FUNCTIONS[name].of, *place)
    top = eigenpairs(problem.hessian_product, problem.weights(), 1).values[0]
    found = spectrum(problem.hessian_product, problem.weights(), steps=2, seed=1)
    point = kind_of_point(problem, found, top)
    assert point.kind == kind
    if name == "saddle":  # x² − y²: the loss falls along y, and nowhere along the gradient
        assert point.lowest == pytest.approx(-2.0)
        assert point.fall == pytest.approx(0.3**2, rel=1e-3)
        assert point.holds
        assert found.negative_share == pytest.approx(0.5, abs=0.5)


def test_lanczos_stops_where_its_space_ends():
    """Of two different eigenvalues any vector spans but two dimensions."""
    diagonal = torch.tensor([1.0, 1.0, 1.0, 4.0, 4.0, 4.0], dtype=torch.float64)
    found = lanczos(lambda vector: diagonal * vector, torch.ones(6, dtype=torch.float64), 6)
    assert found.values() == pytest.approx([1.0, 4.0])


def test_a_million_weights_as_hessian_eigenthings_has_them():
    """https://pypi.org/project/hessian-eigenthings, 1.0: its own Lanczos and its own products."""
    from hessian_eigenthings import HessianOperator, lanczos, supervised_loss

    network = _classifier(64, 850, 850, 256, dtype=torch.float32)
    torch.manual_seed(2)
    inputs, targets = torch.randn(64, 64), torch.randint(0, 256, (64,))
    ours = _problem_of(network, inputs, targets)
    assert ours.num_weights > 990_000
    found = eigenpairs(ours.hessian_product, ours.weights(), 2, tolerance=1e-3)
    operator = HessianOperator(network, [(inputs, targets)], supervised_loss(F.cross_entropy))
    theirs = lanczos(operator, k=2, max_iter=40, tol=1e-4, which="LA", seed=0)
    expected = sorted(theirs.eigenvalues.tolist(), reverse=True)
    assert found.values == pytest.approx(expected, rel=0.01)


def test_a_matrix_of_zeros_has_eigenvalues_of_zero():
    flat_ = torch.ones(50, dtype=torch.float64)
    found = eigenpairs(lambda vector: 0.0 * vector, flat_, 1)
    assert found.values == pytest.approx([0.0])
