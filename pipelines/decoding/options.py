"""What to search for, and what comes back."""

from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor

from pipelines.decoding.length_penalty import LengthPenalty


@dataclass(frozen=True)
class Stop:
    """When a sentence is done: the rule, checked for each sentence alone.

    Attributes:
        rule: ``exact``: nothing alive can beat the worst of the hypotheses asked for; ``finished``:
            ``patience`` · beam size hypotheses have finished (Kasai et al. 2022; 1 is "first k");
            ``likely``: so many have finished, and the best alive would not be among the best W if
            it ended as it stands, coverage apart; ``never``: nothing is alive.
        patience: factor of the beam size.
    """

    rule: Literal["exact", "finished", "likely", "never"] = "exact"
    patience: float = 1.0


@dataclass(frozen=True)
class SearchOptions:
    """What to search for.

    Attributes:
        beam_size: W hypotheses alive per sentence; 1 is greedy search, which ends at the first end
            token it takes.
        num_best: hypotheses returned per sentence, at most ``beam_size``.
        max_length: most tokens of a hypothesis, the end token included.
        start: token id.
        ends: token ids, any of which ends a hypothesis.
        score: by which finished hypotheses are ranked.
        stop: when a sentence is done.
        groups: of a diverse search; they share the beam.
        attention: keep it for each hypothesis.
        at_once: searches that share a device's memory.
    """

    beam_size: int
    num_best: int
    max_length: int
    start: int
    ends: tuple[int, ...]
    score: LengthPenalty = field(default_factory=lambda: LengthPenalty("average", 1.0))
    stop: Stop = field(default_factory=Stop)
    groups: int = 1
    attention: bool = False
    at_once: int = 1

    @property
    def needs_attention(self) -> bool:
        """Whether the model's attention has to be known."""
        return self.attention or self.score.coverage > 0

    @property
    def rule(self) -> str:
        """The stop rule in force: a beam of one stops at its first hypothesis, whatever is set."""
        return "finished" if self.beam_size == 1 else self.stop.rule

    @property
    def enough(self) -> float:
        """Finished hypotheses of a beam that are enough for it."""
        return 1 if self.beam_size == 1 else self.stop.patience * self.beam_size / self.groups


@dataclass(frozen=True)
class Hypothesis:
    """A translation.

    Attributes:
        tokens: ids without start, with end unless it ran into ``max_length``.
        log_probability: log P(tokens | source), in nats.
        score: the same after length normalisation.
        token_log_probabilities: of each token, given those before it; their sum is
            ``log_probability``.
        parents: row in the beam of the hypothesis each token continued.
        attention: weights [tokens, S] over the source when each token was chosen; None unless asked
            for.
        utility: expected chrF, where hypotheses are ranked by it.
    """

    tokens: tuple[int, ...]
    log_probability: float
    score: float
    token_log_probabilities: tuple[float, ...] = ()
    parents: tuple[int, ...] = ()
    attention: Tensor | None = None
    utility: float | None = None
