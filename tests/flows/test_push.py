"""Outs to a remote that does not answer at first."""

import pytest

from flows import push as module
from flows.push import push
from pipelines.frame import patience
from pipelines.frame.errors import CheckFailed, DataError
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
