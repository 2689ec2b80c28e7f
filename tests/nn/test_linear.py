"""oneDNN's product against PyTorch's."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pipelines.nn.cpu.linear import Linear, Product, _suits, linear, weight_steps


@pytest.mark.parametrize("shape", [(7, 16), (2, 3, 16), (0, 16), (1, 16), (2, 0, 16)])
@pytest.mark.parametrize("bias", [True, False])
def test_linear_without_gradients_is_pytorchs(shape, bias):
    layer, x = Linear(16, 24, bias=bias), torch.randn(shape)
    with torch.no_grad():
        assert _suits(x, layer.weight, layer.bias)
        torch.testing.assert_close(
            layer(x), F.linear(x, layer.weight, layer.bias), atol=1e-5, rtol=1e-5
        )


def test_linear_of_views_is_pytorchs():
    x, weight = torch.randn(5, 4, 32), torch.randn(24, 64)
    assert not _suits(x, weight[:, :16], None)
    for part in (x[:, :, ::2], x.transpose(0, 1)[..., :16], x[:, 1:2].expand(5, 3, 32)[..., 16:]):
        for matrix in (weight[:, :16], weight[:, ::4], weight.T[:24, :16]):
            torch.testing.assert_close(
                linear(part, matrix), F.linear(part, matrix), atol=1e-4, rtol=1e-5
            )


def test_linear_with_gradients_in_double_or_under_autocast_is_left_to_pytorch():
    layer, x = Linear(16, 24), torch.randn(7, 16)
    assert not _suits(x, layer.weight, layer.bias)
    assert torch.equal(layer(x), nn.functional.linear(x, layer.weight, layer.bias))
    with torch.no_grad():
        assert not _suits(x.double(), layer.weight.double(), layer.bias.double())
        with torch.autocast("cpu", torch.bfloat16):
            assert not _suits(x, layer.weight, layer.bias)
            assert layer(x).dtype == torch.bfloat16


@pytest.mark.parametrize("shape", [(7, 16), (2, 3, 16), (1, 16), (0, 16)])
@pytest.mark.parametrize("bias", [True, False])
def test_product_in_float32_is_pytorchs(shape, bias):
    layer, x = Linear(16, 24, bias=bias), torch.randn(shape)
    with torch.no_grad():
        product = Product(layer.weight, layer.bias, "float32")
        torch.testing.assert_close(
            product(x), F.linear(x, layer.weight, layer.bias), atol=1e-5, rtol=1e-5
        )
        layer.product = product
        assert torch.equal(layer(x), product(x))


@pytest.mark.parametrize("steps", [63, weight_steps()])
@pytest.mark.parametrize("bias", [True, False])
def test_product_in_int8_is_that_of_rounded_rows(monkeypatch, bias, steps):
    """63 steps of a weight are exact on every processor; 127 where VNNI adds up products in 32
    bits.
    """
    monkeypatch.setattr("pipelines.nn.cpu.linear.weight_steps", lambda: steps)
    generator = torch.Generator().manual_seed(1)
    layer, x = Linear(64, 24, bias=bias), torch.randn(5, 4, 64, generator=generator)
    x[2, 1] *= 1000
    weight = layer.weight.detach()
    largest = [
        (x, x.abs().amax(-1, keepdim=True) / 127),
        (weight, weight.abs().amax(-1, keepdim=True) / steps),
    ]
    rounded = [(part / step).round() * step for part, step in largest]
    with torch.no_grad():
        product = Product(weight, layer.bias, "int8")
        difference = (product(x) - F.linear(*rounded, layer.bias)).abs().amax(-1)
        assert torch.all(difference < 1e-5 * x.norm(dim=-1))
        error = (product(x) - F.linear(x, weight, layer.bias)).abs().amax(-1)
        assert torch.all(error < 0.02 * 127 / steps * x.norm(dim=-1))
        assert torch.equal(product(x)[3, 2:], product(x[3, 2:]))  # no row sees its neighbours
        assert product(x.masked_fill(x == x[0, 0, 0], float("nan")))[0, 0].isnan().all()


def test_products_of_the_largest_integers_are_not_cut_off():
    """All factors alike and as large as they get: what a processor without VNNI cuts off at 16
    bits.
    """
    weight, x = torch.ones(3, 256), torch.full((2, 256), 5.0)
    with torch.no_grad():
        torch.testing.assert_close(Product(weight, None, "int8")(x), torch.full((2, 3), 1280.0))
    assert weight_steps() in (63, 127)
