"""What a search has done: back-pointers instead of copied histories,
and the pool of finished hypotheses.

A beam is one of the groups of a sentence; rows are numbered within it.

Shapes: B beams, of which b are still searched, W rows of a beam, C candidates, P places in the
pool, S source length, T steps.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from pipelines.decoding.options import Hypothesis


class Candidates(NamedTuple):
    """Continuations of a beam's rows, [b, C] each.

    Attributes:
        log_probability: of the whole hypothesis; -∞ is none.
        gain: of its last token.
        parent: the row it continues.
        token: its last token.
    """

    log_probability: Tensor
    gain: Tensor
    parent: Tensor
    token: Tensor

    def at(self, place_bX: Tensor) -> "Candidates":
        """The candidates at some places of each beam, [b, X]."""
        return Candidates(*(part.gather(1, place_bX) for part in self))


class Trace:
    """Which row each row continued, with which token, at each step.

    Attributes:
        steps: what lives on after each step, [B, W] each; of beams that are not searched any more,
            nothing of use.
        attention: of the rows that were continued, [B, W, S] each step; empty if it is not kept.
    """

    def __init__(self, num_beams: int) -> None:
        self.num_beams = num_beams
        self.steps: list[Candidates] = []
        self.attention: list[Tensor] = []

    def add(self, active_b: Tensor, alive: Candidates) -> None:
        """One step of the beams still searched."""
        self.steps.append(Candidates(*(self._everywhere(active_b, part) for part in alive)))

    def add_attention(self, active_b: Tensor, attention_bWS: Tensor) -> None:
        """What the rows that are continued look at."""
        self.attention.append(self._everywhere(active_b, attention_bWS))

    def _everywhere(self, active_b: Tensor, part: Tensor) -> Tensor:
        if len(active_b) == self.num_beams:
            return part
        return part.new_zeros(self.num_beams, *part.shape[1:]).index_copy_(0, active_b, part)

    def history(self, active_b: Tensor, num_rows: int) -> Tensor:
        """Tokens so far [b, W, t] of each row."""
        row_bW = torch.arange(num_rows, device=active_b.device).expand(len(active_b), -1)
        found = []
        for step in reversed(self.steps):
            found.append(step.token[active_b].gather(1, row_bW))
            row_bW = step.parent[active_b].gather(1, row_bW)
        return torch.stack(found[::-1], dim=2) if found else row_bW.new_zeros(*row_bW.shape, 0)


class Pool:
    """The best finished hypotheses of each beam, best first; of equals, the earlier first."""

    def __init__(self, num_beams: int, places: int, device: torch.device) -> None:
        self.score_BP = torch.full(
            (num_beams, places), float("-inf"), dtype=torch.double, device=device
        )
        self.finished_B = torch.zeros(num_beams, dtype=torch.long, device=device)
        numbers = torch.zeros_like(self.score_BP)
        places_BP = torch.zeros_like(self.score_BP, dtype=torch.long)
        self.length_BP, self.found = places_BP, Candidates(numbers, numbers, places_BP, places_BP)

    def add(self, active_b: Tensor, score_bC: Tensor, length: int, found: Candidates) -> None:
        """Candidates of ``length`` tokens and what they are worth; a score of -∞ is none."""
        P = self.score_BP.shape[1]
        score, order = torch.cat([self.score_BP[active_b], score_bC], dim=1).sort(
            dim=1, descending=True, stable=True
        )
        order, length_bC = order[:, :P], torch.full_like(found.token, length)

        def merged(old_BP: Tensor, new_bC: Tensor) -> Tensor:
            return old_BP.index_copy(
                0, active_b, torch.cat([old_BP[active_b], new_bC], dim=1).gather(1, order)
            )

        self.score_BP = self.score_BP.index_copy(0, active_b, score[:, :P])
        self.length_BP = merged(self.length_BP, length_bC)
        self.found = Candidates(
            *(merged(old, new) for old, new in zip(self.found, found, strict=True))
        )
        self.finished_B[active_b] += (score_bC > float("-inf")).sum(dim=1)

    def hypotheses(self, trace: Trace, groups: int, num_best: int) -> list[list[Hypothesis]]:
        """The best of each sentence, its groups together."""
        score_BX = self.score_BP.view(len(self.score_BP) // groups, -1)
        best_BX = score_BX.argsort(dim=1, descending=True, stable=True)[:, :num_best]
        walked = _Walked(self, trace)
        places, scores = self.score_BP.shape[1], score_BX.tolist()
        return [
            [
                walked.hypothesis(sentence * groups + place // places, place % places)
                for place in row
                if scores[sentence][place] > float("-inf")
            ]
            for sentence, row in enumerate(best_BX.tolist())
        ]


class _Walked:
    """All hypotheses of a pool, from their last tokens back to their first ones."""

    def __init__(self, pool: Pool, trace: Trace) -> None:
        self._scores, self._lengths = pool.score_BP.tolist(), pool.length_BP.tolist()
        self._totals, self._attention = pool.found.log_probability.tolist(), trace.attention
        tokens, gains, parents = [], [], []
        last = pool.found
        row_BP = torch.zeros_like(last.parent)
        for t in range(int(pool.length_BP.max()) - 1, -1, -1):
            ends_BP = pool.length_BP == t + 1
            step = trace.steps[t].at(row_BP) if t < len(trace.steps) else last
            tokens.append(torch.where(ends_BP, last.token, step.token))
            gains.append(torch.where(ends_BP, last.gain, step.gain))
            row_BP = torch.where(ends_BP, last.parent, step.parent)
            parents.append(row_BP)
        self._tokens, self._gains, self._parents = (
            torch.stack(part[::-1], dim=2).tolist() if part else []
            for part in (tokens, gains, parents)
        )

    def hypothesis(self, beam: int, place: int) -> Hypothesis:
        length = self._lengths[beam][place]
        parents = self._parents[beam][place][:length]
        seen = (
            [self._attention[t][beam, row].cpu() for t, row in enumerate(parents)]
            if self._attention
            else None
        )
        return Hypothesis(
            tokens=tuple(self._tokens[beam][place][:length]),
            log_probability=self._totals[beam][place],
            score=self._scores[beam][place],
            token_log_probabilities=tuple(self._gains[beam][place][:length]),
            parents=tuple(parents),
            attention=torch.stack(seen) if seen else None,
        )
