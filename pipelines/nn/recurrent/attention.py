"""Attention of recurrent decoders: where to look, and what is seen there.

Shapes: B batch, W beam (1 in training), N = B·W, S source length, M memory width, D width.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from pipelines.nn.cpu.linear import Linear


class Attention(nn.Module, ABC):
    """Weights α = softmax over the source of a score, context Σ α h."""

    @abstractmethod
    def keys(self, memory_BSM: Tensor) -> Tensor:
        """The part of the score no step changes: [B, S, D]."""

    @abstractmethod
    def scores(self, state_BWD: Tensor, key_BSD: Tensor) -> Tensor:
        """Score [B, W, S] of each decoder state for each source token, before the softmax."""

    def forward(
        self, state_ND: Tensor, key_BSD: Tensor, memory_BSM: Tensor, mask_BS: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Contexts [N, M] and weights [N, S] of N = B·W states;
        the memory stands once per sentence.

        Args:
            state_ND: the decoder's top states s.
            key_BSD: from `keys`.
            memory_BSM: encoder states h.
            mask_BS: True on real source tokens.
        """
        scores_BWS = self.scores(state_ND.view(len(memory_BSM), -1, state_ND.shape[-1]), key_BSD)
        weight_BWS = scores_BWS.masked_fill(~mask_BS[:, None], float("-inf")).softmax(dim=-1)
        return (weight_BWS @ memory_BSM).flatten(0, 1), weight_BWS.flatten(0, 1)


class AdditiveAttention(Attention):
    """e = vᵀ tanh(W s + U h) (Bahdanau et al. 2015, appendix A.1.2)."""

    def __init__(self, width: int, memory_width: int) -> None:
        super().__init__()
        self.query = Linear(width, width, bias=False)
        self.key = Linear(memory_width, width)
        self.energy = Linear(width, 1, bias=False)

    def keys(self, memory_BSM: Tensor) -> Tensor:
        """The keys U h of the encoder states [B, S, D], made once per sentence."""
        return self.key(memory_BSM)

    def scores(self, state_BWD: Tensor, key_BSD: Tensor) -> Tensor:
        """See `Attention.scores`."""
        return self.energy(
            torch.tanh(self.query(state_BWD)[:, :, None] + key_BSD[:, None])
        ).squeeze(-1)


class MultiplicativeAttention(Attention):
    """e = sᵀ W h, ``general``, or e = sᵀ h, ``dot`` (Luong et al. 2015, equation 8).

    Raises:
        ValueError: ``dot`` of states and memory of different widths.
    """

    def __init__(self, width: int, memory_width: int, *, general: bool) -> None:
        super().__init__()
        if not general and width != memory_width:
            raise ValueError(
                f"attention dot: memory width ({memory_width}) must equal the decoder's ({width})"
            )
        self.key = Linear(memory_width, width, bias=False) if general else nn.Identity()

    def keys(self, memory_BSM: Tensor) -> Tensor:
        """The keys W h (``general``), or the states h themselves (``dot``) [B, S, D]."""
        return self.key(memory_BSM)

    def scores(self, state_BWD: Tensor, key_BSD: Tensor) -> Tensor:
        """See `Attention.scores`."""
        return state_BWD @ key_BSD.transpose(1, 2)
