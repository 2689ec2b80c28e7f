"""Additive attention (Bahdanau et al. 2015, appendix A.1.2).

Shapes: B batch, W beam (1 in training), S source length, D width.
"""

import torch
from torch import Tensor, nn


class AdditiveAttention(nn.Module):
    """e = vᵀ tanh(W s + U h), weights softmax over the source, context Σ α h."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width)
        self.energy = nn.Linear(width, 1, bias=False)

    def keys(self, memory_BSD: Tensor) -> Tensor:
        """U h, which no step changes: [B, S, D]."""
        return self.key(memory_BSD)

    def forward(self, state_ND: Tensor, key_BSD: Tensor, memory_BSD: Tensor, mask_BS: Tensor) -> Tensor:
        """Contexts [N, D] of N = B·W states; the memory stands once per sentence.

        Args:
            state_ND: the decoder's previous top state s.
            key_BSD: from `keys`.
            memory_BSD: encoder states h.
            mask_BS: True on real source tokens.
        """
        B, _, D = memory_BSD.shape
        query_BW1D = self.query(state_ND).view(B, -1, 1, D)
        energy_BWS = self.energy(torch.tanh(query_BW1D + key_BSD[:, None])).squeeze(-1)
        weight_BWS = energy_BWS.masked_fill(~mask_BS[:, None], float("-inf")).softmax(dim=-1)
        return (weight_BWS @ memory_BSD).view(-1, D)
