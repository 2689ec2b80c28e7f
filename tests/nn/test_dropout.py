"""Dropout: the statistics of PyTorch's own, the same mask forward and backward, and a state that
can be saved.
"""

import pytest
import torch

from pipelines.nn.cpu.dropout import Dropout, dropout


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dropout_rate_scale_and_mean(rate, dtype):
    torch.manual_seed(0)
    n = 1_000_003  # no multiple of the four decisions of a random word
    y = dropout(torch.ones(n, dtype=dtype), rate)
    dropped = (y == 0).double().mean().item()
    assert dropped == pytest.approx(rate, abs=4 * (rate * (1 - rate) / n) ** 0.5 + 1e-5)
    assert y[y != 0].unique().tolist() == pytest.approx(
        [1 / (1 - rate)], rel=1e-4 if dtype == torch.float32 else 1e-2
    )


def test_dropout_places_are_independent():
    """Chi-square over how many of 8 neighbours are dropped, and no correlation from call to
    call.
    """
    torch.manual_seed(1)
    first, second = (dropout(torch.ones(800_000), 0.3) == 0 for _ in range(2))
    counts = torch.bincount(first.view(-1, 8).sum(dim=1), minlength=9).double()
    binomial = torch.distributions.Binomial(8, torch.tensor(0.3, dtype=torch.float64))
    expected = binomial.log_prob(torch.arange(9.0, dtype=torch.float64)).exp() * 100_000
    assert (
        (counts - expected) ** 2 / expected
    ).sum() < 26.1  # 0.999 quantile of chi-square, 8 degrees
    both = (first & second).double().mean().item()
    assert both == pytest.approx(0.09, abs=4 * (0.09 * 0.91 / 800_000) ** 0.5)


def test_dropout_gradient_has_the_mask_of_the_output():
    torch.manual_seed(0)
    x = torch.randn(100, 7, requires_grad=True)
    y = dropout(x, 0.4)
    y.backward(torch.ones_like(y))
    torch.testing.assert_close(x.grad * x, y)


def test_dropout_goes_on_from_pytorchs_random_state():
    torch.manual_seed(0)
    dropout(torch.ones(10), 0.5)
    state = torch.get_rng_state()
    first = dropout(torch.ones(1000), 0.5)
    torch.set_rng_state(state)
    assert torch.equal(dropout(torch.ones(1000), 0.5), first)


def test_dropout_in_evaluation_or_at_rate_0_is_the_input():
    x = torch.randn(5)
    assert Dropout(0.5).eval()(x) is x
    assert Dropout(0.0)(x) is x
