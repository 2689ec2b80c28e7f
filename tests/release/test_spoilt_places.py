"""Places that are not what they should be, and pushes that meet: nothing is mixed, nothing leaves
its folder.
"""

import itertools
import shutil
from pathlib import Path

import pytest

from pipelines.frame.errors import CheckFailed, DataError
from pipelines.release import loading
from pipelines.release.__main__ import main
from pipelines.release.checking import read_sums, verify, write_sums
from pipelines.release.loading import load_released
from pipelines.release.places import Place
from tests.release.conftest import bucket, renamed


def _changed(folder: Path, out: Path) -> Path:
    """Another release of the same name."""
    other = out / folder.name
    shutil.copytree(folder, other)
    (other / "README.md").write_text("another")
    shutil.rmtree(other / "bert", ignore_errors=True)
    write_sums(other)
    return other


@pytest.mark.parametrize("name", ["../../outside", "/tmp/outside", "current", "Big", ""])
def test_a_name_that_leads_elsewhere_is_none(url, small, tmp_path, name):
    main(["push", str(small), url])
    place = Place(url)
    if not place._local:
        place._write("current", name.encode())
        with pytest.raises(DataError, match=r"release: name \(.*\) must be lower-case letters"):
            main(["pull", url, "--to", str(tmp_path / "served/deep")])
    for given in (["pull", url, name, "--to", str(tmp_path / "served/deep")],
                  ["rollback", url, name]):  # fmt: skip
        if name:
            with pytest.raises(DataError, match=r"must be (lower-case|one of those)"):
                main(given)
    assert not list(tmp_path.rglob("outside*"))


def test_a_cut_off_push_of_other_files_is_not_mixed_in(url, small, tmp_path, monkeypatch):
    other, whole, left = _changed(small, tmp_path / "again"), Place._put, [3]

    def cut_off(self: Place, source: Path, target: str) -> None:
        if not left[0]:
            raise ConnectionResetError
        left[0] -= 1
        whole(self, source, target)

    monkeypatch.setattr(Place, "_put", cut_off)
    with pytest.raises(CheckFailed):
        main(["push", str(small), url, "--patience", "0"])
    monkeypatch.setattr(Place, "_put", whole)
    if Place(url)._local:
        assert main(["push", str(other), url]) == 0
        assert verify(Path(url) / "one", None)
        assert (Path(url) / "one/README.md").read_text() == "another"
    else:  # nobody knows whether the other still comes
        with pytest.raises(DataError, match="another release is half there, or comes just now"):
            main(["push", str(other), url])
        assert Place(url).kept() == []
        assert main(["push", str(small), url]) == 0


def test_what_a_cut_off_push_has_left_is_removed(url, small, tmp_path, monkeypatch):
    push = Place(url).push(small)
    for _ in range(3):
        next(push)
    with pytest.raises(DataError, match=r"release \(.none.\) must be there, whole or as"):
        main(["remove", url, "none"])
    assert main(["remove", url, "one"]) == 0
    other = _changed(small, tmp_path / "again")
    assert main(["push", str(other), url]) == 0
    assert main(["pull", url, "--to", str(tmp_path / "served")]) == 0
    assert (tmp_path / "served/one/README.md").read_text() == "another"


def test_a_release_is_removed_unless_it_is_in_use(url, released, tmp_path, capsys):
    for name in ("one", "two", "three"):
        main(["push", str(renamed(released, tmp_path, name)), url])
    with pytest.raises(DataError, match=r"release \(.three.\) must not be the one in use"):
        main(["remove", url, "three"])
    assert main(["remove", url, "two"]) == 0
    assert [one.name for one in Place(url).kept()] == ["three", "one"]
    capsys.readouterr()
    assert main(["rollback", url]) == 0  # to the one before, for two is no longer there
    assert "one is the current one" in capsys.readouterr().out


def test_a_removal_that_is_killed_leaves_no_release_and_is_done_again(url, small, monkeypatch):
    """Whatever was removed last, the rest is no release, and no push takes it for its own."""
    place = Place(url)
    removed = getattr(type(place._files), "_rm_file", None)  # of S3's file system alone
    for done in range(5):
        main(["push", str(small), url])
        place._files.rm_file(f"{place._root}/current")
        left = [done]

        async def killed(self: object, path: str, *, left=left, **options: object) -> None:
            if not left[0]:
                raise ConnectionResetError
            left[0] -= 1
            await removed(self, path, **options)

        def killed_folder(path: Path) -> None:
            next(found for found in path.rglob("*") if found.is_file()).unlink()
            raise ConnectionResetError

        with monkeypatch.context() as patched:
            patched.setattr(type(place._files), "_rm_file", killed, raising=False)
            patched.setattr("pipelines.release.places.shutil.rmtree", killed_folder)
            with pytest.raises(CheckFailed, match="removing one"):
                main(["remove", url, "one"])
        there_still = done == 0 and not place._local  # nothing was removed yet
        assert [one.name for one in place.kept()] == (["one"] if there_still else [])
        if not place._local and not there_still:
            with pytest.raises(DataError, match="another release is half there"):
                main(["push", str(small), url])
        assert main(["remove", url, "one"]) == 0
        assert not [path for path in place._listed() if "one" in path.rpartition("/")[2]]


@pytest.mark.parametrize("same", [True, False])
def test_two_pushes_of_a_name_at_once_leave_one_release(url, small, tmp_path, same):
    folders = [small, shutil.copytree(small, tmp_path / "copy" / "one")]
    if not same:
        folders[1] = _changed(small, tmp_path / "again")
    places = [Place(url).push(folder) for folder in folders]
    errors = []
    for number in itertools.islice(itertools.cycle((0, 1)), 200):
        try:
            next(places[number], None)
        except (DataError, OSError) as error:
            errors.append(error)
    found = Place(url)
    assert [one.name for one in found.kept()] == ["one"]
    main(["pull", url, "one", "--to", str(tmp_path / "served")])
    assert verify(tmp_path / "served/one", None)
    assert same or errors
    assert all(main(["push", str(folder), url]) == 0 for folder in (folders if same else []))


def test_a_release_under_another_name_is_refused(url, small, tmp_path):
    elsewhere = small.with_name("newest")
    shutil.copytree(small, elsewhere)
    with pytest.raises(CheckFailed, match=r"name \('one'\) must be 'newest'"):
        main(["push", str(elsewhere), url])
    main(["push", str(small), url])
    place = Place(url)
    for name in [*read_sums(small), "SHA256SUMS"]:
        place._files.makedirs(f"{place._root}/newest/{Path(name).parent}", exist_ok=True)
        place._files.pipe_file(f"{place._root}/newest/{name}", (small / name).read_bytes())
    with pytest.raises(CheckFailed, match=r"name \('one'\) must be 'newest', as the release says"):
        main(["pull", url, "newest", "--to", str(tmp_path / "served")])
    assert list((tmp_path / "served").iterdir()) == []


def test_what_is_no_release_is_not_seen(url, small, capsys):
    main(["push", str(small), url])
    place = Place(url)
    for name, content in (("a", b'{"version": 1}'), ("b", b"\xff"), ("c", b"[]")):
        place._files.makedirs(f"{place._root}/{name}", exist_ok=True)
        place._files.pipe_file(f"{place._root}/{name}/release.json", content)
    assert main(["list", url]) == 0
    assert [one.name for one in place.kept()] == ["one"]


def test_a_bucket_that_is_not_there_is_not_made(server, small, tmp_path, monkeypatch):
    bucket(server, tmp_path, monkeypatch)
    for given in (["push", str(small)], ["list"], ["rollback"]):
        with pytest.raises(DataError, match=r"bucket \('typo'\) must be there"):
            main([given[0], *given[1:], "s3://typo/models"])
    assert not Place("s3://typo/x")._files.exists("typo")


@pytest.mark.parametrize("place", ["s3:/bucket/x", "gs://bucket/x", "S3://b", "nowhere"])
def test_a_place_that_was_typed_wrong_is_none(small, tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    for given in (["list", place], ["pull", place, "--to", "served"], ["push", str(small), place]):
        if place == "nowhere" and given[0] != "list":
            continue  # the first push makes it
        with pytest.raises(
            DataError, match=r"must be a folder or s3://bucket/prefix|must be there"
        ):
            main(given)
    assert not list(tmp_path.glob("*:*"))


def test_places_and_targets_that_are_files_are_told_at_once(small, tmp_path):
    (tmp_path / "file").write_text("x")
    for given in (
        ["push", str(small), str(tmp_path / "file")],
        ["list", str(tmp_path / "file")],
        ["push", str(small), str(tmp_path / "file/below")],
    ):
        with pytest.raises(DataError, match=r"must be a folder|must be possible, but"):
            main(given)
    main(["push", str(small), str(tmp_path / "place")])
    with pytest.raises(DataError, match="must be possible, but"):
        main(["pull", str(tmp_path / "place"), "--to", str(tmp_path / "file")])


def test_a_rollback_goes_by_use_and_not_by_age(url, small, released, tmp_path):
    two, three = (renamed(released, tmp_path / "made", name) for name in ("two", "three"))
    for folder in (three, small, two):  # the newest first
        main(["push", str(folder), url])
    for name in ("one", "three"):
        main(["rollback", url])
        assert Place(url).current() == name
    with pytest.raises(DataError, match="must have one that was in use before it"):
        main(["rollback", url])
    main(["rollback", url, "two"])
    main(["rollback", url])
    assert Place(url).current() == "three"


def test_a_rollback_while_a_release_is_loaded_changes_nothing(
    small, released, tmp_path, monkeypatch
):
    """What was verified is what is loaded, though the link turns between the two."""
    place = tmp_path / "place"
    second = renamed(released, tmp_path / "made", "two")
    for folder in (small, second):
        main(["push", str(folder), str(place)])
    seen, whole = [], loading.verify

    def turning(folder: Path, key: Path | None) -> str:
        told = whole(folder, key)
        Place(str(place)).roll_back()
        seen.append(folder)
        return told

    monkeypatch.setattr(loading, "verify", turning)
    read = loading.load_encoder_decoder
    monkeypatch.setattr(loading, "load_encoder_decoder", lambda f: seen.append(f) or read(f))
    load_released(place / "current", "gru", None)
    assert seen == [place / "two", place / "two/gru"]
    assert Place(str(place)).current() == "one"
