"""The chunked output layer against F.cross_entropy."""

import pytest
import torch
from torch.nn import functional as F

from pipelines.nn import linear_cross_entropy as module
from pipelines.nn.linear_cross_entropy import linear_cross_entropy


@pytest.mark.parametrize("num_tokens", [1, 127, 128, 129, 500])
@pytest.mark.parametrize("vocab_size", [30, 700])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("tokens_in_block", [1000, 200])
def test_linear_cross_entropy_value_and_gradients_equal_pytorch(
    num_tokens, vocab_size, smoothing, tokens_in_block, monkeypatch
):
    monkeypatch.setattr(module, "_BLOCK", tokens_in_block * vocab_size)
    generator = torch.Generator().manual_seed(num_tokens)
    V = vocab_size
    hidden, weight, bias = (
        torch.randn(*shape, generator=generator, requires_grad=True)
        for shape in ((num_tokens, 8), (V, 8), (V,))
    )
    targets = torch.randint(0, V, (num_tokens,), generator=generator)
    logits = F.linear(hidden, weight, bias)
    expected = F.cross_entropy(logits, targets, reduction="sum", label_smoothing=smoothing)
    loss, likelihood, correct = linear_cross_entropy(
        hidden, weight, bias, targets, label_smoothing=smoothing
    )
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(
        likelihood, F.cross_entropy(logits, targets, reduction="sum"), rtol=1e-5, atol=1e-4
    )
    assert correct == (logits.argmax(dim=1) == targets).sum()
    with torch.no_grad():
        again = linear_cross_entropy(hidden, weight, bias, targets, label_smoothing=smoothing)
    assert again == (loss, likelihood, correct)
    ours = torch.autograd.grad(3 * loss, (hidden, weight, bias))
    theirs = torch.autograd.grad(3 * expected, (hidden, weight, bias))
    for mine, its in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, its, rtol=1e-4, atol=2e-4)


def test_linear_cross_entropy_under_bf16_has_gradients_near_the_exact_ones(monkeypatch):
    generator = torch.Generator().manual_seed(1)
    hidden, weight, bias = (
        torch.randn(*shape, generator=generator, requires_grad=True)
        for shape in ((300, 16), (500, 16), (500,))
    )
    targets = torch.randint(0, 500, (300,), generator=generator)
    exact = torch.autograd.grad(
        F.cross_entropy(F.linear(hidden, weight, bias), targets, reduction="sum") / 7,
        (hidden, weight, bias),
    )
    for tokens_in_block in (1000, 100):
        monkeypatch.setattr(module, "_BLOCK", tokens_in_block * 500)
        with torch.autocast("cpu", torch.bfloat16):
            loss, _, _ = linear_cross_entropy(hidden, weight, bias, targets)
        found = torch.autograd.grad(loss / 7, (hidden, weight, bias))
        for ours, theirs in zip(found, exact, strict=True):
            assert (ours - theirs).norm() < 0.02 * theirs.norm()


def test_linear_cross_entropy_no_tokens_is_zero_with_zero_gradients():
    weight, bias = torch.randn(30, 8, requires_grad=True), torch.randn(30, requires_grad=True)
    loss, likelihood, correct = linear_cross_entropy(
        torch.empty(0, 8), weight, bias, torch.empty(0, dtype=torch.long)
    )
    assert (loss.item(), likelihood.item(), correct.item()) == (0.0, 0.0, 0)
    for gradient in torch.autograd.grad(loss, (weight, bias)):
        assert not gradient.any()
