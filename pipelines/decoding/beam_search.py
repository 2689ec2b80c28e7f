"""Batched beam search over any model that can make one step.

Finished hypotheses wait in a pool outside the beam, so W of them stay alive; a sentence leaves the batch
once nothing alive can beat the worst of its n best. Score of a hypothesis: log P(y | x) / |y|^α, where |y|
counts the end token (α = 0 none, α = 1 the average).
Shapes: B sentences still searched, W beam, N = B·W, C = 2·W candidates, V vocabulary.
"""

from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

State = dict[str, Tensor]
_DEAD = float("-inf")


class StepModel(Protocol):
    """What the search needs: see `pipelines.seq2seq.models.protocol.Seq2SeqModel`."""

    def start(self, source_BS: Tensor, lengths_B: Tensor) -> State: ...

    def step(self, tokens_N: Tensor, state: State) -> tuple[Tensor, State]: ...

    def reorder(self, state: State, parents_N: Tensor) -> State: ...

    def select(self, state: State, sentences: Tensor, beam: int) -> State: ...


@dataclass(frozen=True)
class SearchOptions:
    """What to search for.

    Attributes:
        beam_size: W; 1 is greedy search, which ends at the first end token it takes.
        length_penalty: α ≥ 0.
        max_length: most tokens of a hypothesis, the end token included.
        num_best: hypotheses returned per sentence, at most ``beam_size``.
        start, end: token ids.
    """

    beam_size: int
    length_penalty: float
    max_length: int
    num_best: int
    start: int
    end: int


@dataclass(frozen=True)
class Hypothesis:
    """A finished translation.

    Attributes:
        tokens: ids without start, with end unless it ran into ``max_length``.
        log_probability: log P(tokens | source), in nats.
        score: the same after length normalisation.
    """

    tokens: tuple[int, ...]
    log_probability: float
    score: float


@dataclass
class _Beams:
    """The hypotheses alive: row b·W + w is the w-th of the b-th sentence still searched."""

    sentences: list[int]
    log_probability_BW: Tensor
    history_BWt: Tensor
    state: State
    pools: dict[int, list[Hypothesis]] = field(default_factory=dict)


@torch.inference_mode()
def beam_search(
    model: StepModel, source_BS: Tensor, lengths_B: Tensor, options: SearchOptions
) -> list[list[Hypothesis]]:
    """The ``num_best`` best hypotheses of each sentence, best first.

    Args:
        model: the network.
        source_BS: [CLS] x [SEP], padded.
        lengths_B: real source tokens.
        options: what to search for.

    Raises:
        FloatingPointError: the model answers NaN.
    """
    beams = _first_step(model, source_BS, lengths_B, options)
    for length in range(2, options.max_length + 1):
        beams = _drop_finished(model, beams, options)
        if not beams.sentences:
            break
        tokens_N = beams.history_BWt[:, :, -1].flatten()
        log_probability_BWV, beams.state = _log_probabilities(model, tokens_N, beams.state, len(beams.sentences))
        candidates_BWV = beams.log_probability_BW[:, :, None] + log_probability_BWV
        _advance(model, beams, candidates_BWV, options, length)
    _close_the_rest(beams, options)
    return [beams.pools[sentence] for sentence in range(len(source_BS))]


def _first_step(model: StepModel, source_BS: Tensor, lengths_B: Tensor, options: SearchOptions) -> _Beams:
    """All hypotheses of a sentence begin alike, so the first step takes one row per sentence."""
    B, device = len(source_BS), source_BS.device
    state = model.start(source_BS, lengths_B)
    log_probability_B1V, state = _log_probabilities(
        model, torch.full((B,), options.start, dtype=torch.long, device=device), state, B
    )
    beams = _Beams(
        sentences=list(range(B)),
        log_probability_BW=log_probability_B1V.new_zeros(B, 1),
        history_BWt=torch.empty(B, 1, 0, dtype=torch.long, device=device),
        state=state,
        pools={sentence: [] for sentence in range(B)},
    )
    _advance(model, beams, log_probability_B1V, options, length=1)
    return beams


def _log_probabilities(model: StepModel, tokens_N: Tensor, state: State, B: int) -> tuple[Tensor, State]:
    logits_NV, state = model.step(tokens_N, state)
    log_probability_NV = logits_NV.log_softmax(dim=-1)
    if log_probability_NV.isnan().any():
        raise FloatingPointError("beam search: the model's logits must be numbers, some are NaN; look at its training")
    return log_probability_NV.view(B, -1, log_probability_NV.shape[-1]), state


def _advance(model: StepModel, beams: _Beams, candidates_BWV: Tensor, options: SearchOptions, length: int) -> None:
    """Take the 2·W best continuations: those that end go to the pool, W others live on."""
    B, W, V = candidates_BWV.shape
    best_BC, index_BC = candidates_BWV.flatten(1).topk(min(2 * options.beam_size, W * V), dim=1)
    parent_BC, token_BC = index_BC // V, index_BC % V
    ends_BC = (token_BC == options.end) & (best_BC > _DEAD)
    ends_BC[:, options.beam_size :] = False  # only an end among the W best is worth keeping
    _collect(beams, best_BC, parent_BC, token_BC, ends_BC, options, length)

    alive_BC = best_BC.masked_fill(token_BC == options.end, _DEAD)
    keep = min(options.beam_size, alive_BC.shape[1])
    kept_BW, place_BW = alive_BC.topk(keep, dim=1)
    parent_BW, token_BW = parent_BC.gather(1, place_BW), token_BC.gather(1, place_BW)
    row_B1 = torch.arange(B, device=parent_BW.device)[:, None]
    beams.log_probability_BW = kept_BW
    beams.history_BWt = torch.cat([beams.history_BWt[row_B1, parent_BW], token_BW[:, :, None]], dim=2)
    beams.state = model.reorder(beams.state, (row_B1 * W + parent_BW).flatten())


def _collect(
    beams: _Beams,
    best_BC: Tensor,
    parent_BC: Tensor,
    token_BC: Tensor,
    ends_BC: Tensor,
    options: SearchOptions,
    length: int,
) -> None:
    for b, c in ends_BC.nonzero().tolist():
        prefix = beams.history_BWt[b, parent_BC[b, c]].tolist()
        log_probability = best_BC[b, c].item()
        found = Hypothesis((*prefix, int(token_BC[b, c])), log_probability, _score(log_probability, length, options))
        _keep_best(beams.pools[beams.sentences[b]], found, options)


def _keep_best(pool: list[Hypothesis], found: Hypothesis, options: SearchOptions) -> None:
    pool.append(found)
    pool.sort(key=lambda hypothesis: -hypothesis.score)
    del pool[options.num_best :]


def _drop_finished(model: StepModel, beams: _Beams, options: SearchOptions) -> _Beams:
    """Sentences that nothing alive can improve leave the batch.

    Exact: a continuation never gains probability, and dividing by the longest length flatters it most, so
    ``alive / max_length^α`` bounds every score it can still reach (Huang et al. 2017).
    """
    bound_B = (beams.log_probability_BW[:, 0] / options.max_length**options.length_penalty).tolist()
    going_on = []
    for row, sentence in enumerate(beams.sentences):
        pool = beams.pools[sentence]
        improvable = len(pool) < options.num_best or pool[-1].score < bound_B[row]
        if bound_B[row] != _DEAD and improvable and not _greedy_end(pool, options):
            going_on.append(row)
    if len(going_on) == len(beams.sentences):
        return beams
    rows = torch.tensor(going_on, dtype=torch.long, device=beams.history_BWt.device)
    return _Beams(
        [beams.sentences[row] for row in going_on],
        beams.log_probability_BW[rows],
        beams.history_BWt[rows],
        model.select(beams.state, rows, beams.log_probability_BW.shape[1]),
        beams.pools,
    )


def _close_the_rest(beams: _Beams, options: SearchOptions) -> None:
    """What is still alive at ``max_length`` counts as it stands, without an end token."""
    for row, sentence in enumerate(beams.sentences):
        if _greedy_end(beams.pools[sentence], options):
            continue
        for beam in range(beams.log_probability_BW.shape[1]):
            log_probability = beams.log_probability_BW[row, beam].item()
            if log_probability > _DEAD:
                tokens = tuple(beams.history_BWt[row, beam].tolist())
                found = Hypothesis(tokens, log_probability, _score(log_probability, len(tokens), options))
                _keep_best(beams.pools[sentence], found, options)


def _greedy_end(pool: list[Hypothesis], options: SearchOptions) -> bool:
    """Greedy search takes the likeliest token, and ends when that is the end; it never looks for a better one."""
    return options.beam_size == 1 and bool(pool)


def _score(log_probability: float, length: int, options: SearchOptions) -> float:
    return float(log_probability / length**options.length_penalty)
