"""Ragged arrays on disk."""

import numpy as np
import pytest

from pipelines.errors import DataError
from pipelines.shards.format import Ragged, read_index, write_ragged


def test_ragged_round_trip_with_empty_rows(tmp_path):
    rows = [[5, 6, 7], [], [65535], [8, 9]]
    write_ragged(tmp_path, "x", rows)
    ragged = Ragged.open(tmp_path, "x")
    assert [ragged[row].tolist() for row in range(len(ragged))] == rows
    assert ragged.lengths.tolist() == [3, 0, 1, 2]
    assert isinstance(ragged.tokens, np.memmap)


def test_ragged_token_that_does_not_fit_is_refused(tmp_path):
    with pytest.raises(OverflowError):
        write_ragged(tmp_path, "x", [[65536]])


def test_open_missing_or_cut_file_is_a_data_error(tmp_path):
    write_ragged(tmp_path, "x", [[1, 2, 3]] * 100)
    path = tmp_path / "x.tokens.npy"
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(DataError, match="run dvc repro shards"):
        Ragged.open(tmp_path, "x")
    with pytest.raises(DataError, match="run dvc repro shards"):
        read_index(tmp_path)
