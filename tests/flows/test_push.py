"""Outs to a remote that does not answer at first."""

import stat

import pytest

from flows import push as module
from flows.experiment import share_cache
from flows.push import push
from pipelines.frame import patience
from pipelines.frame.errors import CheckFailed, DataError
from pipelines.preflight import dvc_files
from tests.conftest import run_in


def test_a_push_is_tried_until_the_remote_is_there(tmp_path, monkeypatch, capsys):
    """Each try reads the settings anew: the remote is named by the second."""
    run_in(tmp_path, "dvc", "init", "--no-scm", "--quiet")
    (tmp_path / "out").write_text("x")
    run_in(tmp_path, "dvc", "add", "--quiet", "out")
    with pytest.raises(DataError, match="a remote must be known"):
        push(tmp_path)
    (tmp_path / "file").write_text("no folder")
    run_in(tmp_path, "dvc", "remote", "add", "--default", "store", str(tmp_path / "file/store"))
    with pytest.raises(CheckFailed, match=r"dvc push must be possible, but ConnectionError: .*"):
        push(tmp_path, 0)

    def mended(_: float) -> None:
        run_in(tmp_path, "dvc", "remote", "modify", "store", "url", str(tmp_path / "store"))

    monkeypatch.setattr(patience.time, "sleep", mended)
    assert push(tmp_path) == "1 file pushed"
    assert "again in 1 s" in capsys.readouterr().out
    assert sum(path.is_file() for path in (tmp_path / "store").rglob("*")) == 1


def test_an_experiment_pushes_where_its_checkout_does(tmp_path, monkeypatch):
    """Settings that git does not know go with it; a folder named from here is the same there."""
    here, there = tmp_path / "here", tmp_path / "here/.runs/experiments/one"
    for folder in (here, there):
        folder.mkdir(parents=True)
        run_in(folder, "dvc", "init", "--no-scm", "--quiet")
    monkeypatch.chdir(here)
    run_in(here, "dvc", "remote", "add", "--default", "store", "../store")
    run_in(here, "dvc", "remote", "add", "--local", "box", "s3://box/x")
    run_in(here, "dvc", "remote", "modify", "--local", "box", "secret_access_key", "100%$x #1")
    (there / ".dvc/config").write_bytes((here / ".dvc/config").read_bytes())
    share_cache(there)
    assert stat.S_IMODE((there / ".dvc/config.local").stat().st_mode) & 0o077 == 0
    found = dvc_files.config(there)
    assert found["remote"]["store"]["url"] == str(tmp_path / "store")
    assert found["remote"]["box"]["secret_access_key"] == "100%$x #1"
    (there / "out").write_text("x")
    run_in(there, "dvc", "add", "--quiet", "out")
    assert push(there, 0) == "1 file pushed"
    assert (tmp_path / "store/files").is_dir()
    assert (here / ".dvc/cache/files").is_dir()


@pytest.mark.parametrize(
    ("printed", "reason"),
    [
        ("WARNING: x\nERROR: unexpected error - expired\n\nHaving any troubles?", "unexpected"),
        ("something else", "something else"),
        ("", "no reason given"),
    ],
)
def test_the_reason_is_in_dvc_s_words(printed, reason):
    assert module._reason(printed).startswith(reason)
