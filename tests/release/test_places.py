"""Releases in a folder and in a bucket: whole or not there, gone on with, turned back while
loaded.
"""

import os
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest

from pipelines.frame import patience
from pipelines.frame.errors import CheckFailed, DataError
from pipelines.frame.patience import patiently
from pipelines.release.__main__ import main
from pipelines.release.checking import read_sums, verify
from pipelines.release.loading import load_released
from pipelines.release.places import Place
from tests.authority import Authority
from tests.conftest import ROOT
from tests.release.conftest import bucket, renamed
from tests.tls import BehindTls


def test_push_list_pull_and_back(url, small, released, tmp_path, capsys):
    second = renamed(released, tmp_path / "made", "two")
    assert main(["push", str(small), url]) == 0
    assert main(["push", str(second), url]) == 0
    assert [(one.name, one.current) for one in Place(url).kept()] == [("two", True), ("one", False)]
    assert main(["list", url]) == 0
    assert "* two" in capsys.readouterr().out
    assert main(["pull", url, "--to", str(tmp_path / "served")]) == 0
    assert main(["pull", url, "one", "--to", str(tmp_path / "served")]) == 0
    for folder in (small, second):
        fetched = tmp_path / "served" / folder.name
        assert verify(fetched, None)
        for name in read_sums(folder):
            assert (fetched / name).read_bytes() == (folder / name).read_bytes()
    assert main(["rollback", url]) == 0
    assert Place(url).current() == "one"
    with pytest.raises(DataError, match=r"current release \('one'\) must have one that was in use"):
        main(["rollback", url])
    assert main(["rollback", url, "two"]) == 0
    assert Place(url).current() == "two"
    with pytest.raises(DataError, match=r"release \('x'\) must be one of those that are there"):
        main(["rollback", url, "x"])


def test_a_name_is_given_once(url, small, tmp_path):
    assert main(["push", str(small), url]) == 0
    assert main(["push", str(small), url]) == 0  # the same is there: nothing to do
    (small / "README.md").write_text("another")
    from pipelines.release.checking import write_sums

    write_sums(small)
    with pytest.raises(DataError, match=r"name \('one'\) must be a new one"):
        main(["push", str(small), url])
    (small / "README.md").write_text("spoilt")
    with pytest.raises(CheckFailed, match=r"README.md was changed"):
        main(["push", str(small), url])


def test_an_empty_place_has_none(url, capsys, tmp_path):
    assert main(["list", url]) == 0
    assert "no release" in capsys.readouterr().out
    with pytest.raises(DataError, match="must have a current release, or one must be named"):
        main(["pull", url, "--to", str(tmp_path / "x")])
    with pytest.raises(DataError, match=r"release \('a'\) must be there"):
        main(["pull", url, "a", "--to", str(tmp_path / "x")])


def test_a_push_cut_off_is_not_seen_and_goes_on(url, small, monkeypatch, capsys):
    """After each number of files in turn."""
    whole = Place._put
    left = {"files": 0}

    def cut_off(self: Place, source: Path, target: str) -> None:
        if left["files"] == 0:
            raise ConnectionResetError("gone")
        left["files"] -= 1
        whole(self, source, target)

    monkeypatch.setattr(Place, "_put", cut_off)
    tries, told = 0, set()
    while True:
        left["files"] = 2
        try:
            main(["push", str(small), url, "--patience", "0"])
        except CheckFailed as error:
            told.add(str(error).partition(" must ")[2])
            assert Place(url).kept() == []
            assert Place(url).current() is None
        else:
            break
        tries += 1
    assert told == {
        "be possible, but ConnectionResetError: gone; nothing is lost: mend it and do it again"
    }
    number = len(read_sums(small)) + 1
    assert tries == (number - 1) // 2  # no file went twice
    assert [one.name for one in Place(url).kept()] == ["one"]


def test_a_killed_push_goes_on(small, tmp_path):
    place = tmp_path / "place"
    script = (
        "import os, signal, sys\n"
        "from pipelines.release import places\n"
        "from pipelines.release.__main__ import main\n"
        "put = places.Place._put\n"
        "def slow(self, source, target):\n"
        "    put(self, source, target)\n"
        "    if target.endswith('gru/README.md'): os.kill(os.getpid(), signal.SIGKILL)\n"
        "places.Place._put = slow\n"
        "main(sys.argv[1:])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "push", str(small), str(place)], check=False, cwd=ROOT
    )
    assert done.returncode == -9
    assert not (place / "one").exists()
    assert Place(str(place)).kept() == []
    assert main(["push", str(small), str(place)]) == 0
    assert verify(place / "one", None)
    assert sorted(path.name for path in place.iterdir()) == ["current", "history", "one"]


def test_a_loaded_release_is_not_touched_by_a_rollback(small, released, tmp_path):
    """Who reads through the link has the one that was loaded, to the end, and then the other."""
    place = tmp_path / "place"
    second = renamed(released, tmp_path / "made", "two")
    for folder in (small, second):
        main(["push", str(folder), str(place)])
    model = load_released(place / "current", "gru", None)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    opened = (place / "current/gru/model.safetensors").open("rb")
    stop, seen = threading.Event(), set()

    def look() -> None:
        while not stop.is_set():
            seen.add(os.readlink(place / "current"))  # never missing

    thread = threading.Thread(target=look)
    thread.start()
    started = time.perf_counter()
    for name in ("one", "two") * 20:
        main(["rollback", str(place), name])
    assert time.perf_counter() - started < 20
    stop.set()
    thread.join()
    assert seen == {"one", "two"}
    assert len(opened.read()) == (second / "gru/model.safetensors").stat().st_size
    opened.close()
    assert all((value == before[name]).all() for name, value in model.state_dict().items())


def test_what_was_tampered_with_on_its_way_gets_no_name(url, small, tmp_path):
    main(["push", str(small), url])
    place = Place(url)
    place._files.pipe_file(f"{place._root}/one/gru/model.safetensors", b"evil")
    with pytest.raises(CheckFailed, match=r"gru/model.safetensors was changed"):
        main(["pull", url, "--to", str(tmp_path / "served"), "--patience", "0"])
    assert list((tmp_path / "served").iterdir()) == []
    place._files.pipe_file(f"{place._root}/one/SHA256SUMS", b"0" * 64 + b"  ../../evil\n")
    with pytest.raises(CheckFailed, match="SHA256SUMS: must be that of a release"):
        main(["pull", url, "--to", str(tmp_path / "served"), "--patience", "0"])
    assert not (tmp_path.parent / "evil").exists()


def test_credentials_that_ended_are_read_anew(server, small, tmp_path, monkeypatch, capsys):
    url = bucket(server, tmp_path, monkeypatch)
    whole, used = Place._put, []

    def refused(self: Place, source: Path, target: str) -> None:
        used.append(self._files.s3._request_signer._credentials.access_key)
        if used[-1] == "old":
            raise PermissionError("The provided token has expired.")
        whole(self, source, target)

    def renewed(key: str) -> None:
        profile = f"[default]\naws_access_key_id = {key}\naws_secret_access_key = b\n"
        (tmp_path / "credentials").write_text(profile)

    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    renewed("old")
    monkeypatch.setattr(Place, "_put", refused)
    monkeypatch.setattr(patience.time, "sleep", lambda _: renewed("new"))
    assert main(["push", str(small), url]) == 0
    assert used[0] == "old"
    assert set(used[1:]) == {"new"}
    assert "The provided token has expired.; again in 1 s" in capsys.readouterr().out


def test_a_certificate_that_ends_during_a_push_is_read_anew(
    server, small, tmp_path, monkeypatch, capsys
):
    """A certificate that ends during the push: it is renewed, and the push goes on."""
    url = bucket(server, tmp_path, monkeypatch)
    authority = Authority(tmp_path)
    with BehindTls(server, authority, timedelta(seconds=4)) as served:
        monkeypatch.setenv("AWS_ENDPOINT_URL", served.address)
        monkeypatch.setenv("AWS_CA_BUNDLE", str(authority.path))
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
        monkeypatch.setattr("s3fs.S3FileSystem.retries", 1)
        whole, told = Place._put, []

        def slow(self: Place, source: Path, target: str) -> None:
            time.sleep(0.6)
            whole(self, source, target)

        def renewed(seconds: float) -> None:
            told.append(capsys.readouterr().out)
            served.renew()

        monkeypatch.setattr(Place, "_put", slow)
        monkeypatch.setattr(patience.time, "sleep", lambda s: renewed(s) if s >= 1 else _sleep(s))
        assert main(["push", str(small), url]) == 0
    assert "pushing one to" in told[0]
    assert "ertificate" in told[0] or "SSL" in told[0]
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    monkeypatch.delenv("AWS_CA_BUNDLE")
    assert [one.name for one in Place(url).kept()] == ["one"]


_sleep = time.sleep


def test_patience_ends():
    tries = []

    def act() -> None:
        tries.append(1)
        raise OSError("away")

    with pytest.raises(CheckFailed, match=r"a push must be possible, but OSError: away; nothing"):
        patiently(act, "a push", 0.5)
    assert len(tries) == 1


def test_what_loads_no_model_imports_no_torch():
    """A rollback takes a quarter of a second; with torch it took three."""
    script = "import sys, pipelines.release.__main__; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False, cwd=ROOT).returncode == 0
