"""Slots of keys and values: each hypothesis finds its own history, and the dead make room."""

import pytest
import torch

from pipelines.nn.transformer.cache import take_slots

B, W, H, K = 3, 4, 2, 5


def _walk(steps, parents_of):
    """Slots after each step, and the numbers each hypothesis has written; a key is the number of
    its writing.
    """
    tables, ancestors = {"key": torch.empty(B, H, 0, K)}, torch.empty(B, 0, dtype=torch.bool)
    histories, written = [[] for _ in range(B)], 0
    for step in range(steps):
        slots = take_slots(tables, ancestors)
        tables, ancestors = slots.tables, slots.ancestors_NP
        numbers = torch.arange(written, written + len(histories), dtype=torch.float)
        written += len(histories)
        tables["key"].view(-1, K)[slots.places] = numbers.repeat_interleave(H)[:, None].expand(
            -1, K
        )
        histories = [
            [*history, number] for history, number in zip(histories, numbers.tolist(), strict=True)
        ]
        yield tables["key"], ancestors, histories
        first = torch.arange(B)[:, None] * (len(histories) // B)
        parents = (first + parents_of(step, len(histories) // B)).flatten()
        ancestors, histories = ancestors[parents], [histories[parent] for parent in parents]


@pytest.mark.parametrize("seed", range(5))
def test_each_hypothesis_finds_its_own_history_whoever_else_lives(seed):
    generator = torch.Generator().manual_seed(seed)
    for table, ancestors, histories in _walk(
        40, lambda _, rows: torch.randint(rows, (B, W), generator=generator)
    ):
        rows = len(histories) // B
        for number, history in enumerate(histories):
            own = table[number // rows][:, : ancestors.shape[1]][:, ancestors[number]]
            assert sorted(own[0, :, 0].tolist()) == sorted(history)
            assert (own == own[:1, :, :1]).all()


def test_slots_in_use_grow_with_the_living_alone():
    *_, (table, ancestors, _) = _walk(100, lambda _, rows: torch.zeros(B, W, dtype=torch.long))
    assert ancestors.shape[1] <= 100 + 2 * W + 8
    assert table.shape[2] <= 2 * ancestors.shape[1]
