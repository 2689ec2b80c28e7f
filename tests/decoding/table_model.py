"""A model that reads its probabilities from a table: searches on it can be checked by hand or by
brute force.
"""

from collections.abc import Callable
from itertools import product

import torch
from torch import Tensor

State = dict[str, Tensor]


class TableModel:
    """log P(token | source, prefix) = ``table(source id, prefix)``.

    Args:
        table: (source id, prefix of tokens) → log-probabilities [V].
    """

    def __init__(self, table: Callable[[int, tuple[int, ...]], Tensor]) -> None:
        self._table = table

    def start(self, source_BS: Tensor, lengths_B: Tensor) -> State:
        return {
            "history": torch.empty(len(source_BS), 0, dtype=torch.long),
            "source": source_BS[:, :1].clone(),
        }

    def step_hidden(self, tokens_N: Tensor, state: State) -> tuple[Tensor, State]:
        history = torch.cat([state["history"], tokens_N[:, None]], dim=1)
        rows = [
            self._table(int(source), tuple(prefix[1:]))
            for source, prefix in zip(state["source"], history.tolist(), strict=True)
        ]
        return torch.stack(rows), {"history": history, "source": state["source"]}

    def logits(self, hidden: Tensor) -> Tensor:
        return hidden

    def reorder(self, state: State, parents_N: Tensor) -> State:
        return {name: tensor[parents_N] for name, tensor in state.items()}

    def select(self, state: State, sentences: Tensor, beam: int) -> State:
        rows = (sentences[:, None] * beam + torch.arange(beam)).flatten()
        return self.reorder(state, rows)


def random_table(
    vocab_size: int, seed: int, scale: float = 2.0
) -> Callable[[int, tuple[int, ...]], Tensor]:
    """Independent random distributions for every source and prefix, in float64."""

    def table(source: int, prefix: tuple[int, ...]) -> Tensor:
        generator = torch.Generator().manual_seed(hash((seed, source, prefix)) % 2**31)
        return (
            scale * torch.randn(vocab_size, generator=generator, dtype=torch.double)
        ).log_softmax(-1)

    return table


def all_translations(
    table: Callable[[int, tuple[int, ...]], Tensor],
    source: int,
    vocab_size: int,
    max_length: int,
    end: int,
) -> dict[tuple[int, ...], float]:
    """Every finished translation, and every one cut at ``max_length``, with its log-probability."""
    found = {}
    others = [token for token in range(vocab_size) if token != end]
    for length in range(1, max_length + 1):
        for prefix in product(others, repeat=length - 1):
            last = [end] if length < max_length else range(vocab_size)
            for token in last:
                sequence = (*prefix, token)
                found[sequence] = sum(
                    table(source, sequence[:t])[sequence[t]].item() for t in range(length)
                )
    return found


def depth_first(
    table: Callable[[int, tuple[int, ...]], Tensor],
    source: int,
    max_length: int,
    end: int,
    alpha: float,
) -> tuple[tuple[int, ...], float]:
    """The best translation of all by log P / length^alpha, and its score (Stahlberg & Byrne 2019,
    section 3).

    A prefix is left as soon as no end could make it better than the best so far: log P only falls,
    and at best the translation is as long as it may be.
    """
    best: tuple[tuple[int, ...], float] = ((), float("-inf"))

    def visit(prefix: tuple[int, ...], log_probability: float) -> None:
        nonlocal best
        if log_probability / max_length**alpha <= best[1]:
            return
        if prefix and (prefix[-1] == end or len(prefix) == max_length):
            score = log_probability / len(prefix) ** alpha
            best = max(best, (prefix, score), key=lambda one: one[1])
            return
        following = table(source, prefix)
        for token in following.argsort(descending=True).tolist():
            visit((*prefix, token), log_probability + following[token].item())

    visit((), 0.0)
    return best
