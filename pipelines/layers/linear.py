"""Linear layers that compute with oneDNN where PyTorch would not.

On a CPU PyTorch multiplies float32 matrices with MKL, which on AMD's processors leaves half the machine unused: a core
of an EPYC with AVX-512 does 110 GF/s with MKL and 250 with oneDNN (benchmarks/README.md). Without gradients the product
goes to oneDNN, by the operator PyTorch's own compiler uses for it.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_ONEDNN: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]


class Linear(nn.Linear):
    """`torch.nn.Linear`."""

    def forward(self, input: Tensor) -> Tensor:  # the name is PyTorch's
        """[..., D] → [..., O]."""
        return linear(input, self.weight, self.bias)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`torch.nn.functional.linear`: x [..., D] and a weight [O, D] to [..., O]."""
    if not _suits(x, weight, bias):
        return F.linear(x, weight, bias)
    product: Tensor = torch.ops.mkldnn._linear_pointwise(x.contiguous(), weight, bias, "none", [], "")
    return product


def _suits(x: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    parts = (x, weight) if bias is None else (x, weight, bias)
    return (
        weight.is_contiguous()  # oneDNN has but a slow reference for parts of a matrix
        and all(part.dtype == torch.float32 and part.device.type == "cpu" for part in parts)
        and not torch.is_autocast_enabled("cpu")
        and not (torch.is_grad_enabled() and any(part.requires_grad for part in parts))
        and not torch.compiler.is_compiling()
        and _ONEDNN
    )
