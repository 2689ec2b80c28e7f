"""Keys, commits and records."""

import os
from pathlib import Path

import pytest

from pipelines.frame import run_folder
from pipelines.frame.errors import BusyError, DataError
from pipelines.frame.files import describe_input, write_manifest
from pipelines.frame.processes import exclusive
from pipelines.frame.records import Records
from pipelines.frame.run_folder import RunFolder, key_of


@pytest.fixture(autouse=True)
def _in_tmp(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_key_of_order_of_params_does_not_matter_values_do():
    base = key_of("a", {"x": 1, "y": 2}, {}, {})
    assert base == key_of("a", {"y": 2, "x": 1}, {}, {})
    others = [key_of("b", {"x": 1, "y": 2}, {}, {}), key_of("a", {"x": 1, "y": 3}, {}, {})]
    others += [
        key_of("a", {"x": 1, "y": 2}, {"f": "0"}, {}),
        key_of("a", {"x": 1, "y": 2}, {}, {"f": "0"}),
    ]
    assert len({base, *others}) == 5


def test_describe_input_takes_the_manifest_where_there_is_one(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a").write_text("1")
    by_file = describe_input(folder)
    assert list(by_file) == [f"{folder}/a"]
    write_manifest(folder)
    assert list(describe_input(folder)) == [f"{folder}/manifest.json"]


def test_describe_input_missing_is_a_data_error(tmp_path):
    with pytest.raises(DataError, match="no such file or folder"):
        describe_input(tmp_path / "nothing")


@pytest.mark.parametrize("across_file_systems", [False, True])
def test_commit_replaces_the_old_out_whole_and_its_reader_drops_checkpoints(
    tmp_path, monkeypatch, across_file_systems
):
    if across_file_systems:
        rename = type(tmp_path).rename

        def refuse(self, target):
            if self.name == "work":
                raise OSError(18, "Invalid cross-device link")
            return rename(self, target)

        monkeypatch.setattr(type(tmp_path), "rename", refuse)
    out = tmp_path / "data" / "toy"
    out.mkdir(parents=True)
    (out / "stale").write_text("old")
    folder = RunFolder.open("toy", "0123456789abcdef0123")
    folder.checkpoints.mkdir()
    (folder.work / "fresh").write_text("new")
    folder.commit(out)
    assert sorted(path.name for path in out.iterdir()) == ["fresh", "manifest.json"]
    run_folder.release(out.parent / "other")
    assert folder.checkpoints.exists()
    run_folder.release(out)
    assert not folder.checkpoints.exists()
    assert run_folder.folder_of_out("toy", out).name == folder.path.name
    assert sorted(path.name for path in out.parent.iterdir()) == ["toy"]


def test_runs_of_other_keys_give_their_checkpoints_up_and_damaged_records_harm_nobody(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    folders = [RunFolder.open("toy", letter * 16) for letter in "abc"]
    for folder in folders[:2]:
        folder.checkpoints.mkdir()
        folder.commit(Path("data/toy"))
        folder.work.mkdir()
    folders[2].checkpoints.mkdir()  # of a training that has not finished
    (folders[2].path / "committed.json").write_text("")
    run_folder.release_others("toy", "b" * 64)
    assert [folder.checkpoints.exists() for folder in folders] == [False, True, True]
    run_folder.release(Path("data/toy"))
    assert [folder.checkpoints.exists() for folder in folders] == [False, False, True]


def test_records_half_written_last_line_is_left_out(tmp_path):
    records = Records(tmp_path / "m.jsonl")
    records.append({"step": 1, "loss": float("nan")})
    with records.path.open("a") as file:
        file.write('{"step": 2, "lo')
    assert records.read() == [{"step": 1, "loss": "nan"}]


def test_records_rewind_drops_later_steps_only(tmp_path):
    records = Records(tmp_path / "m.jsonl")
    for step in (1, 2, 3):
        records.append({"step": step})
    records.rewind(2)
    assert [record["step"] for record in records.read()] == [1, 2]


def test_exclusive_held_lock_is_refused_with_the_holder(tmp_path):
    message = f"process {os.getpid()} is running"
    second = exclusive(tmp_path / "lock", patience_s=0.1)
    with exclusive(tmp_path / "lock"), pytest.raises(BusyError, match=message), second:
        pass
    with exclusive(tmp_path / "lock", patience_s=0.1):
        pass
