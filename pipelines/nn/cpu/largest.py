"""The largest number of each row, in two levels."""

import torch
from torch import Tensor


def largest_in_rows(logits: Tensor) -> tuple[Tensor, Tensor]:
    """``logits.max(dim=1, keepdim=True)``: PyTorch's own is not vectorised on a CPU, `amax` is.

    First the largest number of each block of 256 columns, then its place in the first block that
    has the largest of these. The last block may be shorter, so its search begins earlier.
    """
    V = logits.shape[1]
    width = min(256, V)
    whole = V // width * width
    of_blocks = logits[:, :whole].view(len(logits), -1, width).amax(dim=2)
    if whole < V:
        of_blocks = torch.cat([of_blocks, logits[:, whole:].amax(dim=1, keepdim=True)], dim=1)
    start = (of_blocks.argmax(dim=1, keepdim=True) * width).clamp(max=V - width)
    largest, place = logits.gather(1, start + torch.arange(width, device=logits.device)).max(
        dim=1, keepdim=True
    )
    return largest, start + place
