"""Lexically constrained search: dynamic beam allocation (Post & Vilar 2018).

Shapes: b beams still searched, W rows of a beam, V vocabulary.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pipelines.decoding.next_tokens import NextTokenScores
from pipelines.decoding.trace import Candidates

Phrase = tuple[int, ...]


@dataclass(frozen=True)
class _Progress:
    """Tokens of a hypothesis, and what its phrases lack.

    Attributes:
        phrases: of its sentence.
        tokens: so far.
        met: numbers of the phrases it holds.
    """

    phrases: tuple[Phrase, ...]
    tokens: Phrase = ()
    met: frozenset[int] = frozenset()

    @property
    def complete(self) -> bool:
        return len(self.met) == len(self.phrases)

    @property
    def bank(self) -> int:
        """Tokens of phrases met, and of the one that is furthest under way."""
        under_way = (
            self._matched(phrase)
            for number, phrase in enumerate(self.phrases)
            if number not in self.met
        )
        return sum(len(self.phrases[number]) for number in self.met) + max(under_way, default=0)

    def wanted(self) -> Iterator[int]:
        """Tokens that start a phrase or go on with it."""
        for number, phrase in enumerate(self.phrases):
            if number not in self.met:
                yield phrase[self._matched(phrase)]

    def after(self, token: int) -> "_Progress":
        tokens = (*self.tokens, token)
        ends = {
            number for number, phrase in enumerate(self.phrases) if tokens[-len(phrase) :] == phrase
        }
        return _Progress(self.phrases, tokens, self.met | ends)

    def _matched(self, phrase: Phrase) -> int:
        """Length of the longest beginning of the phrase the tokens end with."""
        longest = min(len(phrase) - 1, len(self.tokens))
        return next(
            size
            for size in range(longest, -1, -1)
            if self.tokens[len(self.tokens) - size :] == phrase[:size]
        )


class Constrained:
    """Only hypotheses that hold all phrases of their sentence end.

    The beam is divided among banks of hypotheses that have met as many tokens of the phrases, so
    that those which have met few, and are likelier for it, do not crowd out the others. Where
    nothing complete is found within ``max_length`` a sentence has no hypothesis.

    Args:
        phrases: of each sentence of the batch, token ids; in whatever order they come.
        beam_size: W.
        max_length: most tokens of a hypothesis.
        ends: ids of end tokens.
    """

    to_know = None

    def __init__(
        self,
        phrases: Sequence[Sequence[Sequence[int]]],
        beam_size: int,
        max_length: int,
        ends: Sequence[int],
    ) -> None:
        given = [tuple(tuple(phrase) for phrase in group if phrase) for group in phrases]
        self._rows = {number: [_Progress(group)] for number, group in enumerate(given)}
        self._beam_size, self._left, self._ends = beam_size, max_length, frozenset(ends)

    def choose(self, scored: NextTokenScores, before_bW: Tensor, active_b: Tensor) -> Candidates:
        """See `Selector.choose`: complete hypotheses that end, then the survivors."""
        self._left -= 1
        totals_bWV = before_bW[:, :, None] + scored.log_probability.view(*before_bW.shape, -1)
        found = []
        for beam, total_WV in zip(active_b.tolist(), totals_bWV, strict=True):
            rows = self._rows[beam]
            ending, living = self._ranked(total_WV, rows)
            self._rows[beam] = [rows[row].after(token) for row, token in living]
            self._rows[beam] += [rows[0]] * (self._beam_size - len(living))
            if not self._left:  # all that is complete is a hypothesis, ended or not
                living = [(row, token) for row, token in living if rows[row].after(token).complete]
                ending = sorted([*ending, *living], key=lambda pair: (-float(total_WV[pair]), pair))
                ending, living = ending[: self._beam_size], []
            nothing = [(-1, 0)] * (2 * self._beam_size - len(ending) - len(living))
            found.append([*ending, *living, *nothing])
        pair_bC2 = torch.tensor(found, device=before_bW.device)
        parent_bC, token_bC = pair_bC2[..., 0].clamp(min=0), pair_bC2[..., 1]
        place_bC = parent_bC * totals_bWV.shape[2] + token_bC
        total_bC = (
            totals_bWV.flatten(1)
            .gather(1, place_bC)
            .masked_fill(pair_bC2[..., 0] < 0, float("-inf"))
        )
        return Candidates(total_bC, scored.log_probability.gather(1, place_bC), parent_bC, token_bC)

    def _ranked(
        self, total_WV: Tensor, rows: list[_Progress]
    ) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """(row, token) of what ends and of what lives on, the likeliest first."""
        W, V = total_WV.shape
        likely = total_WV.flatten().topk(min(2 * self._beam_size, W * V)).indices.tolist()
        pairs = {divmod(place, V) for place in likely}
        pairs |= {(row, int(token)) for row, token in enumerate(total_WV.argmax(dim=1))}
        pairs |= {
            (row, token) for row, progress in enumerate(rows[:W]) for token in progress.wanted()
        }
        worth = {pair: float(total_WV[pair]) for pair in pairs}
        alive = sorted(
            (pair for pair in pairs if worth[pair] > float("-inf")),
            key=lambda pair: (-worth[pair], pair),
        )
        ending = [
            (row, token) for row, token in alive if token in self._ends and rows[row].complete
        ]
        banks: dict[int, list[tuple[int, int]]] = {}
        for row, token in alive:
            if token not in self._ends:
                banks.setdefault(rows[row].after(token).bank, []).append((row, token))
        total = sum(map(len, rows[0].phrases))
        living = self._shared_out(banks, total)
        return ending[: self._beam_size], sorted(living, key=lambda pair: (-worth[pair], pair))

    def _shared_out(
        self, banks: dict[int, list[tuple[int, int]]], total: int
    ) -> list[tuple[int, int]]:
        """The beam, shared by banks: equal parts,
        the rest and what a bank leaves free to the fullest of them first.
        """
        part = self._beam_size // (total + 1)
        taken = {bank: min(part, len(pairs)) for bank, pairs in banks.items()}
        free = self._beam_size - sum(taken.values())
        for bank in sorted(banks, reverse=True):
            more = min(free, len(banks[bank]) - taken[bank])
            taken[bank] += more
            free -= more
        return [pair for bank, pairs in banks.items() for pair in pairs[: taken[bank]]]
