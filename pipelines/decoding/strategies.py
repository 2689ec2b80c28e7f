"""The ``decoding`` section → what the engine is given."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from pipelines.decoding.length_penalty import LengthPenalty
from pipelines.decoding.options import SearchOptions, Stop
from pipelines.decoding.params import DecodingParams, DiverseBeam, Sampling
from pipelines.decoding.rules import MinimumLength, NoRepeat, Rule
from pipelines.decoding.selection import Diverse, Likeliest, Sampled, Selector
from pipelines.formats.randomness import generator
from pipelines.formats.vocabulary.special_tokens import END, START


@dataclass(frozen=True)
class Strategy:
    """One way to search a set of sentences.

    Attributes:
        params: the section.
        seed: of samples.
        beam_size, num_best: of this search; the section's, or others.
        plain: the likeliest continuations, whatever the section's strategy.
    """

    params: DecodingParams
    seed: int
    beam_size: int
    num_best: int
    plain: bool = False

    @property
    def options(self) -> SearchOptions:
        """The strategy as the search engine takes it."""
        params, strategy = self.params, self.params.strategy
        groups = strategy.groups if isinstance(strategy, DiverseBeam) and not self.plain else 1
        sampling = isinstance(strategy, Sampling) and not self.plain
        return SearchOptions(
            self.beam_size,
            self.num_best,
            params.max_length,
            START,
            (END,),
            LengthPenalty(
                params.score.name,
                params.score.strength,
                params.score.end_counts,
                params.score.coverage,
            ),
            Stop("never") if sampling else Stop(params.stop.rule, params.stop.patience),
            groups,
        )

    def selector(self, sentences: Sequence[int]) -> Selector:
        """For one batch; ``sentences`` are the numbers of its sentences in the whole set."""
        strategy = self.params.strategy
        if self.plain or strategy.name == "beam":
            return Likeliest(self.beam_size, 1)
        if isinstance(strategy, DiverseBeam):
            width = self.beam_size // strategy.groups
            return Diverse(width, strategy.groups, strategy.penalty, (END,))
        shape = (self.beam_size, self.params.max_length)
        uniform = np.stack(
            [generator(self.seed, "samples", number).random(shape) for number in sentences]
        )
        return Sampled(
            torch.from_numpy(uniform),
            temperature=strategy.temperature,
            top_k=strategy.top_k,
            top_p=strategy.top_p,
        )

    @property
    def rules(self) -> list[Rule]:
        """The rules of what no hypothesis may say."""
        found: list[Rule] = []
        if self.params.min_length > 1:
            found.append(MinimumLength(self.params.min_length, (END,)))
        if self.params.no_repeat:
            found.append(NoRepeat(self.params.no_repeat))
        return found


def searches(params: DecodingParams, seed: int) -> dict[str, Strategy]:
    """Name → search of the stage: greedy, the section's own,
    and the other beam sizes of the curve.
    """
    found = {
        "greedy": Strategy(params, seed, beam_size=1, num_best=1, plain=True),
        "beam": Strategy(params, seed, params.beam_size, params.num_best),
    }
    for size in params.curve:
        own = (
            size == params.beam_size and params.strategy.name == "beam" and params.rerank == "none"
        )
        if size > 1 and not own:
            found[f"beam_{size}"] = Strategy(params, seed, beam_size=size, num_best=1, plain=True)
    return found
