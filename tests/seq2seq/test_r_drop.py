"""The chunked divergence against PyTorch's kl_div."""

import pytest
import torch
from torch.nn import functional as F

from pipelines.seq2seq.r_drop import symmetric_divergence


@pytest.mark.parametrize("num_tokens", [0, 1, 256, 600])
def test_symmetric_divergence_value_and_gradients_equal_kl_div(num_tokens):
    generator = torch.Generator().manual_seed(num_tokens)
    shapes = ((num_tokens, 8), (num_tokens, 8), (30, 8), (30,))
    a, b, weight, bias = (
        torch.randn(*shape, generator=generator, requires_grad=True) for shape in shapes
    )
    p, q = (F.linear(x, weight, bias).log_softmax(-1) for x in (a, b))
    expected = 0.5 * sum(
        F.kl_div(x, y, reduction="sum", log_target=True) for x, y in ((p, q), (q, p))
    )
    actual = symmetric_divergence(a, b, weight, bias)
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5)
    ours = torch.autograd.grad(3 * actual, (a, b, weight, bias))
    theirs = torch.autograd.grad(3 * expected, (a, b, weight, bias))
    for mine, its in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, its, rtol=1e-4, atol=2e-4)
