"""The chunked output layer against F.cross_entropy."""

import pytest
import torch
from torch.nn import functional as F

from pipelines.layers.linear_cross_entropy import linear_cross_entropy


@pytest.mark.parametrize("num_tokens", [1, 511, 512, 513, 1500])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_linear_cross_entropy_value_and_gradients_equal_pytorch(num_tokens, smoothing):
    generator = torch.Generator().manual_seed(num_tokens)
    hidden, weight, bias = (
        torch.randn(*shape, generator=generator, requires_grad=True) for shape in ((num_tokens, 8), (30, 8), (30,))
    )
    targets = torch.randint(0, 30, (num_tokens,), generator=generator)
    logits = F.linear(hidden, weight, bias)
    expected = F.cross_entropy(logits, targets, reduction="sum", label_smoothing=smoothing)
    loss, likelihood, correct = linear_cross_entropy(hidden, weight, bias, targets, label_smoothing=smoothing)
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(likelihood, F.cross_entropy(logits, targets, reduction="sum"), rtol=1e-5, atol=1e-4)
    assert correct == (logits.argmax(dim=1) == targets).sum()
    ours = torch.autograd.grad(3 * loss, (hidden, weight, bias))
    theirs = torch.autograd.grad(3 * expected, (hidden, weight, bias))
    for mine, its in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, its, rtol=1e-4, atol=2e-4)


def test_linear_cross_entropy_no_tokens_is_zero():
    loss, likelihood, correct = linear_cross_entropy(
        torch.empty(0, 8), torch.randn(30, 8), torch.randn(30), torch.empty(0, dtype=torch.long)
    )
    assert (loss.item(), likelihood.item(), correct.item()) == (0.0, 0.0, 0)
