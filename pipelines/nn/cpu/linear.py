"""Linear layers that compute with oneDNN where PyTorch would not.

On a CPU PyTorch multiplies float32 matrices with MKL, which on AMD's processors leaves half the
machine unused: a core of an EPYC with AVX-512 does 110 GF/s with MKL and 250 with oneDNN
(benchmarks/README.md). Without gradients the product goes to oneDNN, by the operator PyTorch's own
compiler uses for it; a search lays its weights out for oneDNN beforehand, in float32 or in int8.
"""

from functools import cache
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

ONEDNN: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
Precision = Literal["float32", "bfloat16", "int8"]
_STEPS = 127  # of int8, on each side of zero


class Product:
    """x Wᵀ + b for one weight, without gradients, on a CPU: x [..., D] to [..., O],
    both in float32.

    In int8 each row of x and of W is rounded to steps of its own, so no row of x sees its
    neighbours: 127 on each side of zero, for W fewer on some processors (`weight_steps`).

    Args:
        weight: [O, D], in float32.
        bias: [O].
        precision: float32 or int8; bfloat16 is a model's own type.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, precision: Precision) -> None:
        self._weight = weight.detach().contiguous()
        self._bias = None if bias is None else bias.detach()
        self._step_O: Tensor | None = None
        if precision == "int8":
            step_O1, rounded = _rounded(self._weight, weight_steps())
            self._step_O = step_O1.squeeze(1)
            self._packed = torch.ops.onednn.qlinear_prepack(rounded, None)
        else:
            self._packed = torch.ops.mkldnn._reorder_linear_weight(self._weight, None)

    def __call__(self, x: Tensor) -> Tensor:
        """The product [..., O], in float32."""
        product: Tensor
        if self._step_O is None:
            product = torch.ops.mkldnn._linear_pointwise(
                x.contiguous(), self._packed, self._bias, "none", [], ""
            )
            return product
        step, rounded = _rounded(x, _STEPS)
        product = _of_integers(rounded, self._packed, self._step_O)
        return (
            product.mul_(step) if self._bias is None else torch.addcmul(self._bias, product, step)
        )


def _rounded(x: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """The step [..., 1] of each row, and the row in such steps, -steps … steps."""
    step = x.abs().amax(dim=-1, keepdim=True).clamp_(min=1e-30).div_(steps)
    return step, (x / step).round_().to(torch.int8)


def _of_integers(x: Tensor, packed: Tensor, step_O: Tensor) -> Tensor:
    """The product of rounded numbers, in float32; W comes packed, its rows' steps beside it."""
    # Shifted by 128, for oneDNN is fast for unsigned numbers alone.
    above_zero = (x ^ -128).view(torch.uint8).contiguous()
    factors = (
        above_zero,
        1.0,
        128,
        packed,
        step_O,
        torch.zeros(len(step_O), dtype=torch.int32),
        None,
    )
    product: Tensor = torch.ops.onednn.qlinear_pointwise(
        *factors, 1.0, 0, torch.float32, "none", [], ""
    )
    return product


@cache
def weight_steps() -> int:
    """Steps on each side of zero that a weight in int8 may have on this processor: 127, or 63.

    One without VNNI adds two products in 16 bits and cuts off what does not fit, without a word: 2
    · 255 · 127 does not, 2 · 255 · 63 does. It is tried out.
    """
    most = torch.full((1, 64), _STEPS, dtype=torch.int8)
    product = _of_integers(most, torch.ops.onednn.qlinear_prepack(most, None), torch.ones(1))
    return _STEPS if product.item() == 64 * _STEPS**2 else _STEPS // 2


class Linear(nn.Linear):
    """`torch.nn.Linear`.

    Attributes:
        product: computes it instead, for a search.
    """

    product: Product | None = None

    def forward(self, input: Tensor) -> Tensor:  # the name is PyTorch's
        """The product of an input [..., D] with the weight: [..., O]."""
        return (
            linear(input, self.weight, self.bias) if self.product is None else self.product(input)
        )


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`torch.nn.functional.linear`: x [..., D] and a weight [O, D] to [..., O]."""
    if not _suits(x, weight, bias):
        return F.linear(x, weight, bias)
    product: Tensor = torch.ops.mkldnn._linear_pointwise(
        x.contiguous(), weight, bias, "none", [], ""
    )
    return product


def _suits(x: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    parts = (x, weight) if bias is None else (x, weight, bias)
    return (
        weight.is_contiguous()  # oneDNN has but a slow reference for parts of a matrix
        and all(part.dtype == torch.float32 and part.device.type == "cpu" for part in parts)
        and not torch.is_autocast_enabled("cpu")
        and not (torch.is_grad_enabled() and any(part.requires_grad for part in parts))
        and not torch.compiler.is_compiling()
        and ONEDNN
    )
