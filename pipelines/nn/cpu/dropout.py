"""Dropout that costs little on a CPU."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

_STEPS = 1 << 16  # rates are rounded to a multiple of 1 / this


class Dropout(nn.Module):
    """Srivastava et al. 2014, inverted:
    in training each element is kept with probability 1 − rate and scaled up.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """``x``, with elements dropped in training."""
        return dropout(x, self.rate) if self.training else x


def dropout(x: Tensor, rate: float) -> Tensor:
    """``x`` with elements dropped, whatever the mode.

    PyTorch draws one Bernoulli number after the other, 9 ns each. Here 16 bits of an SFC64 stream
    decide on an element (0.6 ns), and the stream starts from a number of PyTorch's own generator,
    whose state a checkpoint holds.
    """
    if not rate:
        return x
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        return F.dropout(x, rate)
    dropped: Tensor = _Dropout.apply(x, rate)  # type: ignore[no-untyped-call]
    return dropped


class _Dropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, rate: float) -> Tensor:
        dropped = min(round(rate * _STEPS), _STEPS - 1)
        stream = np.random.SFC64(int(torch.randint(1 << 62, ())))
        bits = stream.random_raw(-(-x.numel() // 4)).view(np.int16)[: x.numel()]
        kept = torch.from_numpy(bits) >= dropped - _STEPS // 2
        factor = kept.view(x.shape).to(x.dtype).mul_(_STEPS / (_STEPS - dropped))
        ctx.save_for_backward(factor)
        return x * factor

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (factor,) = ctx.saved_tensors
        return gradient * factor, None
