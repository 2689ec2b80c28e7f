"""Where a training stands in its data: any position, any number of loader processes, any phase."""

from itertools import pairwise

import pytest
from torch.utils.data import DataLoader

from pipelines.bert.data import DocumentSplit, PretrainingBatches
from pipelines.training.positions import Batches, Position
from pipelines.training.trainer import _as_it_is, _leave_signals_to_the_parent
from tests.bert.sample import PHASE, bert_params, two_languages

_ROWS = 7


class Counting:
    """Epochs of seven rows, two or three an update."""

    fingerprint = "counting"

    def after(self, position: Position) -> Position:
        taken = position.samples + 2 + position.update % 2
        if taken >= _ROWS:
            return Position(position.update + 1, position.epoch + 1, 0)
        return Position(position.update + 1, position.epoch, taken)

    def __call__(self, position: Position) -> Position:
        return position


def _read(source, first: Position, total: int, workers: int):
    batches = Batches(source, first, total)
    return list(
        DataLoader(
            batches, batch_size=None, collate_fn=_as_it_is, num_workers=workers,
            worker_init_fn=_leave_signals_to_the_parent,
        )
    )  # fmt: skip


pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")


@pytest.mark.parametrize("workers", [0, 1, 2, 3, 5])
@pytest.mark.parametrize("done", [0, 1, 2, 5, 10])
def test_any_number_of_loader_processes_goes_on_at_any_update(workers, done):
    source, position = Counting(), Position(0, 0, 0)
    for _ in range(done):
        position = source.after(position)
    found = _read(source, position, 11, workers)
    assert [one.update for one in found] == list(range(done, 11))
    for before, after in pairwise(found):
        assert source.after(before) == after


@pytest.mark.parametrize("workers", [2, 3])
@pytest.mark.parametrize("done", [1, 2, 3, 4, 5])
def test_a_resume_around_a_change_of_phase_reads_the_same_rows(workers, done):
    """Three updates of 32 tokens, three of 16: epochs are planned anew, batches are cut into
    micro-batches.
    """
    phases = [{**PHASE, "updates": 3, "batch_size": 3, "max_length": length} for length in (32, 16)]
    source = PretrainingBatches(
        DocumentSplit(two_languages(), 1, "t", 0.15, 300), bert_params(phases=phases)
    )
    straight = _read(source, Position(0, 0, 0), 6, 0)
    again = _read(source, straight[done].position, 6, workers)
    assert len(again) == 6 - done
    for ours, theirs in zip(again, straight[done:], strict=True):
        assert ours.position == theirs.position
        for part, other in zip(ours.split(2), theirs.split(2), strict=True):
            assert part.tokens_RT.equal(other.tokens_RT)
            assert part.labels_M.equal(other.labels_M)
    assert straight[2].tokens_RT.shape != straight[3].tokens_RT.shape
