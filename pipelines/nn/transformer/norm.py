"""Layer normalisation, and the precision of what flows between layers.

Shapes: D width.
"""

import torch
from torch import Tensor, nn

_HALVED = ("cuda",)  # devices on which a step waits for memory more than for products


class LayerNorm(nn.LayerNorm):
    """Ba et al. 2016, with BERT's ε = 1e-12; mean and variance are float32.

    Args:
        width: D.
    """

    def __init__(self, width: int) -> None:
        super().__init__(width, eps=1e-12)

    def forward(self, input: Tensor) -> Tensor:  # the name is PyTorch's
        """``input`` [..., D] with mean 0 and variance 1 along D, scaled and shifted."""
        return in_stream(super().forward(input))


def in_stream(x: Tensor) -> Tensor:
    """``x`` in the type of the residual stream: on a GPU autocast's, else as it is.

    Autocast's own norms answer in float32, and everything that is added to them stays float32:
    twice the memory traffic between products, which is where a GPU's time goes.
    """
    kind = x.device.type
    if kind in _HALVED and torch.is_autocast_enabled(kind):
        return x.to(torch.get_autocast_dtype(kind))
    return x
