"""Lines, planes and convexity, against functions whose shape is known."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pipelines.diagnosis.convexity import examine, last_layer, linear_regression, softmax_regression
from pipelines.diagnosis.landscape import filter_normalised, line, plane, principal
from pipelines.diagnosis.problem import Problem, learnable
from tests.diagnosis.functions import of_function


def _at(*numbers):
    return torch.tensor(numbers, dtype=torch.float64)


def test_line_over_a_bowl_is_convex_and_over_a_hill_has_a_barrier():
    bowl = of_function(lambda x, y: x.square() + y.square(), 0.0, 0.0)
    found = line(bowl, _at(-1.0, 0.0), _at(1.0, 0.0), 5)
    assert found.losses == pytest.approx([1.0, 0.25, 0.0, 0.25, 1.0])
    assert (found.barrier, found.convex) == (0.0, True)
    two = of_function(lambda x: (x.square() - 1).square(), 1.0)  # minima at −1 and 1
    found = line(two, _at(-1.0), _at(1.0), 9)
    assert found.barrier == pytest.approx(1.0)
    assert not found.convex
    assert two.weights().tolist() == [1.0]  # it is left where it was


def test_plane_holds_the_losses_and_the_trajectory():
    bowl = of_function(lambda x, y, z: x.square() + 4 * y.square() + z, 0.0, 0.0, 0.0)
    found = plane(bowl, _at(0, 0, 0), [_at(2, 0, 0), _at(0, 1, 0)], 3, [_at(1, 1, 0), _at(0, 3, 4)])
    assert found.losses == [[8, 4, 8], [4, 0, 4], [8, 4, 8]]
    assert found.trajectory == [[0.5, 1.0], [0.0, 3.0]]
    assert found.kept == pytest.approx([1.0, 3 / 5])


def test_directions_have_the_length_of_each_filter():
    """Li et al. 2018, section 4; biases stand still, the two are orthogonal."""
    torch.manual_seed(0)
    network = nn.Linear(6, 4)
    problem = Problem(learnable(network), [lambda: network.weight.sum() + network.bias.sum()])
    one, other = filter_normalised(problem, 1)
    rows = problem.unflat(one)[0].norm(dim=1)
    torch.testing.assert_close(rows, network.weight.norm(dim=1))
    assert problem.unflat(one)[1].norm() == 0
    assert abs(one @ other) < 1e-5
    assert torch.equal(one, filter_normalised(problem, 1)[0])


def test_principal_directions_hold_a_trajectory_in_two_dimensions():
    path = [_at(3, 0, 0, 1), _at(1, 2, 0, 1), _at(0.5, 1, 0, 1)]
    here = _at(0, 0, 0, 1)
    axes = principal(path, here, 1)
    bowl = of_function(lambda *x: sum(one.square() for one in x), 0.0, 0.0, 0.0, 1.0)
    found = plane(bowl, here, axes, 3, path)
    assert found.kept == pytest.approx([1.0] * 3)
    assert max(abs(x) for point in found.trajectory for x in point) < 1.0
    alone = principal(path[:1], here, 1)
    assert alone[0] @ alone[1] == pytest.approx(0.0, abs=1e-9)


def test_regressions_on_features_that_stand_still_are_convex():
    torch.manual_seed(0)
    features, labels = torch.randn(200, 12), torch.randint(0, 5, (200,))
    found = last_layer(features, labels, seed=2)
    assert set(found) == {"softmax regression", "linear regression"}
    for one in found.values():
        assert one["counterexample"] == ""
        assert one["lowest"] > -1e-4
        assert one["above_chord"] <= 1e-5
    exact = softmax_regression(features.double(), labels, 5)
    hessian = torch.stack(
        [exact.hessian_product(row) for row in torch.eye(exact.num_weights).double()]
    )
    assert torch.linalg.eigvalsh(hessian)[0] > -1e-12
    least = linear_regression(features.double(), labels.double())
    gram = torch.stack([least.hessian_product(row) for row in torch.eye(12).double()])
    torch.testing.assert_close(gram, 2 * features.double().T @ features.double() / 200)


def test_a_network_gets_its_counterexample():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 3)).double()
    inputs, targets = torch.randn(40, 3).double(), torch.randint(0, 3, (40,))
    problem = Problem(learnable(network), [lambda: F.cross_entropy(network(inputs), targets)])
    points = [problem.weights() * scale for scale in (1.0, -2.0, 3.0)]
    found = examine(problem, points)
    assert found.counterexample
    assert found.lowest < -1e-3 or found.above_chord > 1e-4
    bump = of_function(lambda x: -(x.square()), 0.5)
    assert "bends downwards, λ = -2" in examine(bump, [_at(0.5), _at(1.0)]).counterexample
    hill = of_function(lambda x: -torch.exp(-x.square()) - 2 * torch.exp(-(x - 4).square()), 0.0)
    assert "above its chord" in examine(hill, [_at(0.0), _at(4.0)]).counterexample  # two valleys
