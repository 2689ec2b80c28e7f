"""Which continuations a beam considers: the likeliest, likely and diverse ones, or random ones.

Shapes: b beams still searched, W rows of a beam (1 before the first step), X continuations scored
of a beam, C candidates, V vocabulary, G groups.
"""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from pipelines.decoding.next_tokens import NextTokenScores
from pipelines.decoding.trace import Candidates

_TOKENS = 1 << 32  # more than any vocabulary has


class Selector(Protocol):
    """One way to choose which continuations of a beam are considered."""

    @property
    def to_know(self) -> int | None:
        """How many of a beam's likeliest continuations it has to know; None for all,
        by row and by token.
        """
        ...

    def choose(self, scored: NextTokenScores, before_bW: Tensor, active_b: Tensor) -> Candidates:
        """Candidates [b, C], preferred ones first.

        Args:
            scored: continuations.
            before_bW: log-probability of the rows.
            active_b: numbers of the beams.
        """
        ...


class Likeliest:
    """Beam search: the C likeliest continuations of all rows; of equals that `topk` keeps,
    by row, then by token.
    """

    def __init__(self, beam_size: int, num_ends: int) -> None:
        self.to_know = self._count = (1 + num_ends) * beam_size

    def choose(self, scored: NextTokenScores, before_bW: Tensor, active_b: Tensor) -> Candidates:
        """See `Selector.choose`."""
        return likeliest(scored, before_bW, self._count)


def likeliest(
    scored: NextTokenScores, before_bW: Tensor, count: int, malus_bX: Tensor | None = None
) -> Candidates:
    """The ``count`` best by log-probability, less a malus that counts for the choice alone.

    A beam of two rows with log-probabilities −1 and −2; four continuations are known, as (row,
    token) with the log-probability each adds. Their sums are −1.5, −3.0, −2.25 and −3.0: of the two
    equal ones the one of the earlier row comes first.

    >>> known = NextTokenScores(
    ...     torch.tensor([[-0.5, -2.0, -0.25, -1.0]]).double(),
    ...     torch.tensor([[0, 0, 1, 1]]),
    ...     torch.tensor([[7, 8, 7, 9]]),
    ... )
    >>> found = likeliest(known, torch.tensor([[-1.0, -2.0]]).double(), count=4)
    >>> found.parent.tolist(), found.token.tolist()
    ([[0, 1, 0, 1]], [[7, 7, 8, 9]])
    >>> found.log_probability.tolist()
    [[-1.5, -2.25, -3.0, -3.0]]
    """
    # What each continuation is worth, and the best of them in topk's order.
    gain_bX, row_bX, token_bX = scored
    total_bX = before_bW.gather(1, row_bX) + gain_bX
    judged_bX = total_bX if malus_bX is None else total_bX - malus_bX
    value_bC, place_bC = judged_bX.topk(min(count, judged_bX.shape[1]), dim=1)
    found = Candidates(total_bX, gain_bX, row_bX, token_bX).at(place_bC)
    parent_bC, token_bC = found.parent, found.token
    # topk orders equals as it likes, so: by row and token first, then, stably, by value.
    by_name_bC = (parent_bC * _TOKENS + token_bC).argsort(dim=1)
    by_value_bC = value_bC.gather(1, by_name_bC).argsort(dim=1, descending=True, stable=True)
    return found.at(by_name_bC.gather(1, by_value_bC))


def survivors(found: Candidates, is_end_bC: Tensor, beam_size: int) -> Candidates:
    """The first W candidates that do not end; rows that find none are dead."""
    alive = found._replace(
        log_probability=found.log_probability.masked_fill(is_end_bC, float("-inf"))
    )
    # The living in front, in the order they came in; the first W of them.
    dead_bC = alive.log_probability == float("-inf")
    alive = alive.at(dead_bC.byte().argsort(dim=1, stable=True)[:, :beam_size])
    # Fewer candidates than rows: the rest are dead rows that continue the first one.
    if (missing := beam_size - alive.token.shape[1]) > 0:
        fill = (float("-inf"), 0.0, 0, 0)
        alive = Candidates(
            *(
                torch.nn.functional.pad(part, (0, missing), value=value)
                for part, value in zip(alive, fill, strict=True)
            )
        )
    return alive


class Diverse:
    """Groups choose one after the other, and pay for tokens the earlier ones took
    (Vijayakumar et al. 2018, section 4).

    Args:
        beam_size: of a group.
        groups: of a sentence; its beams stand one after the other.
        penalty: λ, for each time another group took the token at this step; it counts for the
            choice, not in scores.
        ends: ids of end tokens.
    """

    def __init__(self, beam_size: int, groups: int, penalty: float, ends: Sequence[int]) -> None:
        self._beam_size = beam_size
        self._groups = groups
        self._penalty = penalty
        self._ends = torch.tensor(list(ends))
        self._count = (1 + len(ends)) * beam_size
        # All tokens that have to pay could be likelier than those that need not.
        self.to_know = self._count + groups * beam_size * beam_size

    def choose(self, scored: NextTokenScores, before_bW: Tensor, active_b: Tensor) -> Candidates:
        """See `Selector.choose`."""
        G, self._ends = self._groups, self._ends.to(before_bW.device)
        gain, row, token = (part.view(-1, G, part.shape[1]) for part in scored)
        before = before_bW.view(-1, G, before_bW.shape[1])
        taken_bY = token[:, 0, :0]
        chosen = []
        for group in range(G):
            own = NextTokenScores(gain[:, group], row[:, group], token[:, group])
            times_bX = (own.token[..., None] == taken_bY[:, None]).sum(dim=-1)
            found = likeliest(own, before[:, group], self._count, self._penalty * times_bX)
            alive = survivors(found, torch.isin(found.token, self._ends), self._beam_size)
            real_bW = alive.log_probability > float("-inf")
            taken_bY = torch.cat([taken_bY, alive.token.masked_fill(~real_bW, -1)], dim=1)
            chosen.append(found)
        return Candidates(
            *(torch.stack(parts, dim=1).flatten(0, 1) for parts in zip(*chosen, strict=True))
        )


class Sampled:
    """Each row goes on with a random token: of the softmax at a temperature, of the k likeliest,
    of a nucleus.

    Args:
        uniform_BWT: numbers in [0, 1) for each row and step; they alone decide, so neighbours do
            not.
        temperature: > 0; log-probabilities are divided by it, then normalised.
        top_k: as many likeliest tokens are drawn from (Fan et al. 2018); 0 for all.
        top_p: the smallest set of likeliest tokens that has this probability (Holtzman et al. 2020,
            equation 2).
    """

    to_know = None

    def __init__(
        self, uniform_BWT: Tensor, *, temperature: float, top_k: int, top_p: float
    ) -> None:
        self._uniform_BWT = uniform_BWT
        self._temperature = temperature
        self._top_k = top_k
        self._top_p = top_p
        self._step = 0

    def choose(self, scored: NextTokenScores, before_bW: Tensor, active_b: Tensor) -> Candidates:
        """See `Selector.choose`."""
        self._uniform_BWT = self._uniform_BWT.to(before_bW.device)
        uniform_bW = self._uniform_BWT[active_b, :, self._step]
        self._step += 1
        (b, W), rows = uniform_bW.shape, before_bW.shape[1]
        log_probability_bWV = scored.log_probability.view(b, rows, -1).expand(b, W, -1)
        likely_bWV, order_bWV = log_probability_bWV.sort(dim=-1, descending=True, stable=True)
        probability_bWV = (likely_bWV / self._temperature).softmax(dim=-1)
        if self._top_k:
            probability_bWV[..., self._top_k :] = 0
        probability_bWV = probability_bWV / probability_bWV.sum(dim=-1, keepdim=True)
        before_it_bWV = probability_bWV.cumsum(dim=-1) - probability_bWV
        probability_bWV = probability_bWV.masked_fill(before_it_bWV >= self._top_p, 0)
        cumulative_bWV = probability_bWV.cumsum(dim=-1)
        drawn_bW1 = (cumulative_bWV <= uniform_bW[..., None] * cumulative_bWV[..., -1:]).sum(
            dim=-1, keepdim=True
        )
        token_bW = order_bWV.gather(2, drawn_bW1.clamp(max=likely_bWV.shape[-1] - 1)).squeeze(2)
        gain_bW = log_probability_bWV.gather(2, token_bW[..., None]).squeeze(2)
        parent_bW = torch.arange(W, device=before_bW.device).clamp(max=rows - 1).expand(b, W)
        return Candidates(before_bW.gather(1, parent_bW) + gain_bW, gain_bW, parent_bW, token_bW)
