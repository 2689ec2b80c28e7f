"""How far a loss reaches back into the source: the gradient at each of its tokens.

The norm of ∂L/∂x at tokens further and further from the sentence's end is what vanishes in a plain
RNN (Bengio et al. 1994; Pascanu et al. 2013, section 2).

Shapes: B batch, S source length, D width.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

DISTANCES = (0, 1, 2, 4, 8, 16, 32)  # tokens from the end whose gradient is told

Report = Callable[[Mapping[str, tuple[Tensor, Tensor | int]]], None]


def report_source_gradients(
    embedding: nn.Module, lengths_B: Tensor, report: Report, *, scale: float = 1.0
) -> Any:
    """Tell the gradient norms at the source once the coming backward pass is through.

    Args:
        embedding: its next output is the embedded source [B, S, D].
        lengths_B: real source tokens.
        report: is given ``source_gradient/DISTANCE`` → (sum of norms, how many), over the sentences
            that are long enough, for all of `DISTANCES`; distance 0 is the end token [SEP].
        scale: factor of the norms.

    Returns:
        A handle; ``remove()`` it after the forward pass.
    """
    seen = False

    def measure(gradient_BSD: Tensor) -> None:
        norm_BS = gradient_BSD.detach().float().norm(dim=-1) * scale
        found = {}
        for distance in DISTANCES:
            place_B = lengths_B - 1 - distance
            real_B = place_B >= 0
            norm_B = norm_BS.gather(1, place_B.clamp(min=0)[:, None]).squeeze(1)
            found[f"source_gradient/{distance:02}"] = (norm_B[real_B].sum(), real_B.sum())
        report(found)

    def watch(_: nn.Module, __: Any, output: Tensor) -> None:
        nonlocal seen
        if not seen and output.requires_grad and torch.is_grad_enabled():
            seen = True
            output.register_hook(measure)  # type: ignore[no-untyped-call]

    return embedding.register_forward_hook(watch)
