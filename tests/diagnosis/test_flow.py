"""Gradient flow, noise, Jacobians and dead units, against closed forms."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pipelines.diagnosis.activations import Activations
from pipelines.diagnosis.flow import by_layer, noise_of, step_jacobians, step_of
from pipelines.diagnosis.problem import Problem, learnable
from pipelines.nn.recurrent.cells import GruCell, LstmCell, RnnCell
from pipelines.nn.recurrent.stack import Recurrent


def test_noise_scale_of_planted_gradients():
    """Gradients G + noise of variance σ² / rows in each of P places: tr(Σ) / |G|² = P σ² / |G|²."""
    torch.manual_seed(0)
    P, sigma, rows = 4000, 0.5, 16
    true = torch.full((P,), 0.05)
    gradients = [true + torch.randn(P) * sigma / rows**0.5 for _ in range(40)]
    expected = P * sigma**2 / true.square().sum().item()
    assert noise_of(gradients, rows).scale == pytest.approx(expected, rel=0.1)


def test_noise_without_a_mean_has_no_scale():
    gradients = [torch.tensor([1.0]), torch.tensor([-1.0])]
    assert noise_of(gradients, 4).scale == math.inf


def test_ratios_are_of_matrices_and_norms_of_all():
    weight, bias = torch.full((2, 2), 3.0), torch.zeros(2)
    for tensor in (weight, bias):
        tensor.requires_grad_()
    problem = Problem({"a.weight": weight, "a.bias": bias}, [lambda: weight.sum() + bias.sum()])
    step = step_of(problem.gradient(), 0.3, None)
    found = by_layer(problem, problem.gradient(), step)["a"]
    assert found.weights == pytest.approx(6.0)
    assert found.gradient == pytest.approx(6**0.5)
    assert found.ratio == pytest.approx(0.1)
    moment = torch.full((6,), 4.0)
    assert step_of(problem.gradient(), 0.3, (moment, 0.5)).tolist() == pytest.approx([-0.12] * 6)


@pytest.mark.parametrize("factor", [0.5, 1.0, 1.5])
def test_jacobian_of_a_linear_step_is_its_matrix(factor):
    """At 0 tanh' is 1: the plain RNN's Jacobian is U, here a rotation times a factor, along which a
    gradient grows by that factor each step.
    """
    stack = Recurrent(RnnCell, 3, 2, num_layers=1, bidirectional=False, dropout=0.0)
    cell = stack.layers[0][0]
    turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.zero_()
        cell.hidden.weight.copy_(factor * turn)
    found = step_jacobians(stack, lambda: stack(torch.zeros(4, 9, 3)))["layers.0.0"]
    assert found.largest == pytest.approx(factor, rel=1e-5)
    assert found.median == pytest.approx(factor, rel=1e-5)
    assert found.power == pytest.approx(factor, rel=1e-5)


@pytest.mark.parametrize("kind", [RnnCell, GruCell, LstmCell])
def test_largest_singular_value_is_that_of_autograds_jacobian(kind):
    torch.manual_seed(1)
    stack = Recurrent(kind, 3, 4, num_layers=1, bidirectional=False, dropout=0.0)
    cell, inputs = stack.layers[0][0], torch.randn(1, 4, 3)
    found = step_jacobians(stack, lambda: stack(inputs))["layers.0.0"]
    calls = []
    cell.register_forward_pre_hook(lambda _, given: calls.append(given))
    from pipelines.nn.plain import twice_differentiable

    with twice_differentiable(), torch.no_grad():
        stack(inputs)
    largest = []
    for projected, state in (calls[2], calls[1]):  # steps 1 and 2 from the end of four
        width = state[0].shape[-1]

        def step(joined, projected=projected, width=width):
            return torch.cat(cell(projected, torch.split(joined, width, dim=-1)), dim=-1)

        jacobian = torch.autograd.functional.jacobian(step, torch.cat(state, dim=-1))
        largest.append(torch.linalg.svdvals(jacobian[0, :, 0])[0].item())
    assert found.largest == pytest.approx(sum(largest) / 2, rel=1e-4)


def test_saturated_and_dead_units_are_counted_where_they_are():
    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.flat, self.dead = nn.Tanh(), nn.ReLU()

        def forward(self, x):
            return self.dead(x), self.flat(x), torch.sigmoid(x)

    network = Network()
    with Activations(network) as found:
        network(torch.tensor([[9.0, 0.1, -9.0], [9.0, -0.1, -9.0]]))
        network(torch.tensor([[0.0, 0.1, -1.0], [0.0, 0.1, -1.0]]))
    assert found.shares() == pytest.approx({
        "dead/relu": 1 / 3,  # the third is never above 0
        "flat/tanh": 4 / 12,
        "sigmoid": 4 / 12,
    })  # fmt: skip
    assert found.of_kind("relu") == pytest.approx(1 / 3)
    assert found.of_kind("tanh") == pytest.approx(4 / 12)
    assert torch.relu(torch.ones(1)).item() == 1.0  # nobody watches any more
    assert len(found.found) == 3


def test_a_problem_says_what_is_wrong_with_it():
    from pipelines.frame.errors import CheckFailed

    weight = torch.ones(3, requires_grad=True)
    cases = {
        "must have weights that learn; there are none": ({}, weight.sum),
        "its weights (w) must be finite; train again with a lower learning rate": (
            {"w": torch.full((2,), float("nan"), requires_grad=True)},
            weight.sum,
        ),
        "must be the same in each pass; switch dropout off": (
            {"w": weight},
            lambda: F.dropout(torch.ones(999), 0.5).sum() + weight.sum(),
        ),
        "(inf) must be finite; lower the learning rate": ({"w": weight}, lambda: weight.sum() / 0),
    }
    for message, (parameters, loss) in cases.items():
        with pytest.raises(CheckFailed) as told:
            Problem(parameters, [loss], "the loss")
        assert message in str(told.value)
    flat = Problem({"w": weight}, [lambda: torch.ones(())])
    with pytest.raises(CheckFailed, match="must depend on its weights; it has no gradient"):
        flat.gradient()
    root = torch.zeros(2, requires_grad=True)
    edge = Problem({"w": root}, [lambda: root.abs().sqrt().sum()])
    with pytest.raises(CheckFailed, match="must have a finite second derivative here"):
        edge.hessian_product(torch.ones(2))
    linear = Problem({"w": weight}, [weight.sum])
    assert linear.hessian_product(torch.ones(3)).tolist() == [0.0] * 3
    assert learnable(nn.Linear(2, 1)).keys() == {"weight", "bias"}
