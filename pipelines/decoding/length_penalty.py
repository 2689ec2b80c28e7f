"""What a hypothesis is worth: its log-probability,
set in relation to its length and to what it covers of the source.

Each form is defined here once. |y| is the number of tokens of a hypothesis, its end token among
them where ``end_counts``.

| name | s(y) |
|---|---|
| average | log P(y | x) / |y|^α; α = 0 leaves log P as it is, α = 1 is the mean of the tokens' |
| gnmt | log P(y | x) / ((5 + |y|) / 6)^α (Wu et al. 2016, equation 14) |
| reward | log P(y | x) + γ |y| (Murray & Chiang 2018, section 3.3) |

Coverage adds β Σ_s log min(Σ_t a_ts, 1), a punishment for source tokens that attention has left
unseen (Wu et al. 2016, equation 15).

Shapes: any; S source length.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

_SEEN_AT_LEAST = 1e-6  # of a source token, lest one without any attention make the score -∞


@dataclass(frozen=True)
class LengthPenalty:
    """One form.

    Attributes:
        name: of the form.
        strength: α ≥ 0, or γ.
        end_counts: the end token is one of |y|.
        coverage: β ≥ 0.
    """

    name: Literal["average", "gnmt", "reward"]
    strength: float
    end_counts: bool = True
    coverage: float = 0.0

    def __call__(
        self, log_probability: Tensor, length: int, ended: Tensor, covered_S: Tensor | None
    ) -> Tensor:
        """Scores of hypotheses.

        Args:
            log_probability: of all tokens, the end token always among them.
            length: tokens, the end token among them where there is one.
            ended: there is one.
            covered_S: attention each source token has got [..., S], padding 1; None without
                coverage.
        """
        counted = torch.full_like(log_probability, length)
        if not self.end_counts:
            counted = (counted - ended.to(counted.dtype)).clamp(min=1)
        score = self._of(log_probability, counted)
        if covered_S is None:
            return score
        return score + self.coverage * covered_S.clamp(_SEEN_AT_LEAST, 1.0).log().sum(dim=-1)

    def bound(self, log_probability: Tensor, length: int, longest: int) -> Tensor:
        """No continuation of a hypothesis of ``length`` tokens to at most
        ``longest`` scores more (Huang et al. 2017).

        Log-probability only falls. A quotient is flattered most by the longest length, a reward
        too, a punishment by the shortest; coverage adds 0 at best.
        """
        fewest = length + 1 if self.end_counts else max(length, 1)
        counted = fewest if self.name == "reward" and self.strength < 0 else longest
        return self._of(log_probability, torch.full_like(log_probability, counted))

    def _of(self, log_probability: Tensor, counted: Tensor) -> Tensor:
        if self.name == "reward":
            return log_probability + self.strength * counted
        return (
            log_probability
            / (counted if self.name == "average" else (5.0 + counted) / 6.0) ** self.strength
        )
