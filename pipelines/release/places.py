"""Where releases are kept: a folder, or a bucket (``s3://bucket/prefix``).

    PLACE/NAME/…        the files of a release; ``release.json`` is written last
    PLACE/NAME/incoming in a bucket, while they come: the checksum of what is coming
    PLACE/current       the name of the release in use; in a folder a link to it
    PLACE/history       those that were, a line each, the last one last

A release is there once its ``release.json`` is: nobody sees half of one. In a folder its files come
to ``.NAME.<checksum>.incoming``, which gets its name when it is whole. A push that was cut off goes
on with the files that are missing. Nothing is ever overwritten, so a release that somebody has
loaded stays as it is while another becomes the current one. One that is removed is no longer there
from the first moment; until all its files are gone, its name is nobody's.
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.frame.errors import CheckFailed, DataError, broken_rule
from pipelines.frame.files import sha256_of, sync_tree
from pipelines.release.checking import (
    FACTS,
    SIGNATURE,
    SUMS,
    checked_name,
    read_sums,
    sums_of,
)

CURRENT, _HISTORY, _INCOMING = "current", "history", "incoming"


@dataclass(frozen=True)
class Kept:
    """A release in a place.

    Attributes:
        name: of it.
        made: when, as ISO 8601.
        models: names.
        current: it is the one in use.
    """

    name: str
    made: str
    models: list[str]
    current: bool


class Place:
    """A place, with credentials and certificates as they are when it is opened.

    Args:
        url: a folder or ``s3://bucket/prefix``.

    Raises:
        DataError: what serves such an address is not installed, or it is a file.
    """

    def __init__(self, url: str) -> None:
        import fsspec

        self.url = url
        rule = "be a folder or s3://bucket/prefix"
        if re.match(r"[A-Za-z][\w+-]*:", url) and not url.startswith("s3://"):
            raise DataError(broken_rule("release", "place", url, rule, "correct it"))
        anew = {"skip_instance_cache": True, "use_listings_cache": False}
        try:
            self._files, root = fsspec.url_to_fs(os.path.expanduser(url), **anew)
        except (ImportError, ValueError) as error:
            told = broken_rule("release", "place", url, f"{rule} ({error})", "pip install dvc-s3")
            raise DataError(told) from None
        self._root = str(root).rstrip("/")
        self._local = "file" in self._files.protocol
        if self._local and Path(self._root).exists() and not Path(self._root).is_dir():
            rule, remedy = "be a folder, and is a file", "name another"
            raise DataError(broken_rule("release", "place", url, rule, remedy))

    def kept(self) -> list[Kept]:
        """All releases that are there whole, the newest first.

        Raises:
            DataError: there is no such folder or bucket.
        """
        self._require_bucket()
        if self._local and not Path(self._root).is_dir():
            rule, remedy = "be there", "correct it; the first push makes it"
            raise DataError(broken_rule("release", "place", self.url, rule, remedy))
        found, current = [], self.current()
        for path in self._listed():
            name = path.rstrip("/").rpartition("/")[2]
            if name not in (CURRENT, _HISTORY) and (facts := self._facts(name)):
                found.append(Kept(name, facts["made"], facts["models"], name == current))
        return sorted(found, key=lambda one: (one.made, one.name), reverse=True)

    def _require_bucket(self) -> None:
        """A typing error must not make a bucket, as the library would."""
        bucket = self._root.partition("/")[0]
        if not self._local and not self._files.exists(bucket):
            rule, remedy = (
                "be there, and readable with these keys",
                "correct it, or make the bucket",
            )
            raise DataError(broken_rule(self.url, "bucket", bucket, rule, remedy))

    def _listed(self) -> list[str]:
        try:
            return [str(path) for path in self._files.ls(self._root, detail=False)]
        except FileNotFoundError:
            return []

    def _facts(self, name: str) -> dict[str, Any] | None:
        """What a release says of itself; None where there is none."""
        try:
            found: dict[str, Any] = json.loads(self._read(f"{checked_name(name)}/{FACTS}"))
            return found if isinstance(found["made"], str) and found["models"] else None
        except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError, DataError):
            return None

    def _read(self, path: str) -> bytes:
        found: bytes = self._files.cat_file(f"{self._root}/{path}")
        return found

    def current(self) -> str | None:
        """The name of the release in use."""
        if self._local:
            link = Path(self._root, CURRENT)
            return checked_name(link.readlink().name) if link.is_symlink() else None
        try:
            return checked_name(self._read(CURRENT).decode("utf-8").strip())
        except FileNotFoundError:
            return None

    def point(self, name: str) -> None:
        """Make a release the one in use, at once.

        Raises:
            DataError: it is not there.
        """
        before = self._history()
        self._turn_to(name)
        if before[-1:] != [name]:
            self._write(_HISTORY, "\n".join([*before, name]).encode())

    def roll_back(self) -> str:
        """Make the release that was in use before the current one the one in use; its name.

        Raises:
            DataError: there is none.
        """
        self._require_bucket()
        current, before = self.current(), self._history()
        while before and (before[-1] == current or self._facts(before[-1]) is None):
            before.pop()
        if not before:
            rule, remedy = "have one that was in use before it", "name the one that is wanted"
            raise DataError(broken_rule(self.url, "current release", current, rule, remedy))
        self._turn_to(before[-1])
        self._write(_HISTORY, "\n".join(before).encode())
        return before[-1]

    def _history(self) -> list[str]:
        try:
            return self._read(_HISTORY).decode("utf-8").split()
        except FileNotFoundError:
            return []

    def _turn_to(self, name: str) -> None:
        if self._facts(name) is None:
            there = ", ".join(one.name for one in self.kept()) or "none"
            rule = f"be one of those that are there ({there})"
            raise DataError(broken_rule(self.url, "release", name, rule, "list shows them"))
        if not self._local:
            self._write(CURRENT, name.encode())
            return
        temporary = Path(self._root, f".{CURRENT}.{os.getpid()}")
        try:
            temporary.unlink(missing_ok=True)
            temporary.symlink_to(name)
            temporary.replace(Path(self._root, CURRENT))
        finally:
            temporary.unlink(missing_ok=True)

    def _write(self, target: str, content: bytes) -> None:
        """A small file, whole or as it was."""
        path = f"{self._root}/{target}"
        if not self._local:
            self._files.pipe_file(path, content)
            return
        temporary = Path(f"{path}.{os.getpid()}")
        temporary.write_bytes(content)
        temporary.replace(path)

    def push(self, folder: Path) -> Iterator[str]:
        """Bring a release here; each file that it brought.

        Raises:
            DataError: a release of that name is there with other files, or comes just now.
        """
        self._require_bucket()
        name, sums = checked_name(folder.name), read_sums(folder)
        coming = sha256_of(folder / SUMS)
        if self._is_there(name, coming):
            return
        base = f".{name}.{coming[:12]}.{_INCOMING}" if self._local else name
        there = self._begun(base, coming, sums)
        signature = [SIGNATURE] if (folder / SIGNATURE).is_file() else []
        for file in [*sorted(sums.keys() - {FACTS}), *signature, SUMS]:
            if file not in there:
                self._put(folder / file, f"{base}/{file}")
                yield file
        if self._is_there(name, coming):  # another push was faster
            return
        self._put(folder / FACTS, f"{base}/{FACTS}")
        yield FACTS
        if self._local:
            sync_tree(Path(self._root, base))
            Path(self._root, base).rename(Path(self._root, name))
        else:
            self._files.rm_file(f"{self._root}/{base}/{_INCOMING}")

    def _is_there(self, name: str, coming: str) -> bool:
        """Whether this release is there already.

        Raises:
            DataError: the name is another's.
        """
        if self._facts(name) is None:
            return False
        if hashlib.sha256(self._read(f"{name}/{SUMS}")).hexdigest() != coming:
            rule, remedy = "be a new one: another release has it", "make it under another name"
            raise DataError(broken_rule(self.url, "name", name, rule, remedy))
        return True

    def _begun(self, base: str, coming: str, sums: dict[str, str]) -> set[str]:
        """Files that an earlier push has brought; the place is this release's from now on.

        Raises:
            DataError: another release comes under this name.
        """
        root = f"{self._root}/{base}"
        if self._local:
            Path(root).mkdir(parents=True, exist_ok=True)
            return {file for file, sha in sums.items() if _is(Path(root, file), sha)}
        try:
            self._files.pipe_file(f"{root}/{_INCOMING}", coming.encode(), mode="create")
        except FileExistsError:
            if self._read(f"{base}/{_INCOMING}").decode() != coming:
                rule = "be a new one: another release is half there, or comes just now"
                remedy = f"make it under another name, or remove {base} (pipelines.release remove)"
                raise DataError(broken_rule(self.url, "name", base, rule, remedy)) from None
        # An object is whole or not there, and no other release's can be.
        found = self._files.find(root)
        return {str(path).split(f"{root}/", 1)[1] for path in found} - {FACTS}

    def _put(self, source: Path, target: str) -> None:
        """A file, whole or not at all."""
        path = f"{self._root}/{target}"
        if not self._local:
            self._files.put_file(str(source), path)
            return
        part = Path(f"{path}.part.{os.getpid()}")
        part.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._files.put_file(str(source), str(part))
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)

    def remove(self, name: str) -> None:
        """Take a release away, or what pushes under its name have left.

        Raises:
            DataError: it is the one in use; nothing of that name is there.
        """
        self._require_bucket()
        checked_name(name)
        if name == self.current():
            rule, remedy = "not be the one in use", "roll back, or push another, before"
            raise DataError(broken_rule(self.url, "release", name, rule, remedy))
        if not (self._remove_folders(name) if self._local else self._remove_objects(name)):
            rule, remedy = "be there, whole or as a push left it", "list shows those there"
            raise DataError(broken_rule(self.url, "release", name, rule, remedy))

    def _remove_folders(self, name: str) -> bool:
        """Whether there was something to remove."""
        whole = Path(self._root, name)
        if whole.is_dir():
            whole.rename(whole.with_name(f".{name}.{os.getpid()}.removed"))
        left = [path for path in whole.parent.glob(f".{name}.*") if path.is_dir()]
        for path in left:
            shutil.rmtree(path)
        return bool(left)

    def _remove_objects(self, name: str) -> bool:
        """The same in a bucket."""
        root = f"{self._root}/{name}"
        facts, mark = f"{root}/{FACTS}", f"{root}/{_INCOMING}"
        if not self._files.find(root):
            return False
        self._files.pipe_file(mark, b"removed")  # else a push took the rest for its own
        if self._files.exists(facts):
            self._files.rm_file(facts)
        for path in {*self._files.find(root)} - {mark}:
            self._files.rm_file(path)
        self._files.rm_file(mark)
        return True

    def pull(self, name: str, folder: Path) -> None:
        """Bring a release from here into a folder that is there; files that it has whole are kept.

        Raises:
            DataError: it is not there.
            CheckFailed: it names files outside its folder.
        """
        if self._facts(name) is None:
            self._require_bucket()
            rule, remedy = "be there", "list shows those that are"
            raise DataError(broken_rule(self.url, "release", name, rule, remedy))
        sums_bytes = self._read(f"{name}/{SUMS}")
        where = f"{self.url}/{name}"
        try:
            sums = sums_of(sums_bytes.decode("utf-8"))
        except ValueError as error:
            told = f"{where}/{SUMS}: must be that of a release ({error}); push it anew"
            raise CheckFailed(told) from None
        (folder / SUMS).write_bytes(sums_bytes)
        for file, sha in sums.items():
            if not _is(path := folder / file, sha):
                path.parent.mkdir(parents=True, exist_ok=True)
                self._files.get_file(f"{self._root}/{name}/{file}", str(path))
        with contextlib.suppress(FileNotFoundError):
            (folder / SIGNATURE).write_bytes(self._read(f"{name}/{SIGNATURE}"))


def _is(path: Path, sha: str) -> bool:
    return path.is_file() and not path.is_symlink() and sha256_of(path) == sha
