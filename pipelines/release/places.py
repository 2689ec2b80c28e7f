"""Where releases are kept: a folder, or a bucket (``s3://bucket/prefix``).

    PLACE/NAME/…             the files of a release; ``release.json`` is written last
    PLACE/NAME/incoming      while they come: the checksum of what is coming
    PLACE/current            the name of the release in use; in a folder a link to it

A release is there once its ``release.json`` is: nobody sees half of one. In a folder its files come
to ``.NAME.incoming``, which gets its name when it is whole. A push that was cut off goes on with
the files that are missing. Nothing is ever overwritten, so a release that somebody has loaded stays
as it is while another becomes the current one.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.frame.errors import CheckFailed, DataError, broken_rule
from pipelines.frame.files import sha256_of, sync_tree
from pipelines.release.build import FACTS
from pipelines.release.checking import SIGNATURE, SUMS, read_sums, sums_of

CURRENT, _INCOMING = "current", "incoming"


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
        DataError: what serves such an address is not installed.
    """

    def __init__(self, url: str) -> None:
        import fsspec

        self.url = url
        try:
            self._files, root = fsspec.url_to_fs(
                url, skip_instance_cache=True, use_listings_cache=False
            )
        except (ImportError, ValueError) as error:
            rule, remedy = f"be a folder or s3://bucket/prefix ({error})", "pip install s3fs"
            raise DataError(broken_rule("release", "place", url, rule, remedy)) from None
        self._root = str(root).rstrip("/")
        self._local = isinstance(self._files.protocol, tuple) and "file" in self._files.protocol

    def kept(self) -> list[Kept]:
        """All releases that are there whole, the newest first."""
        found, current = [], self.current()
        for path in self._listed():
            name = path.rstrip("/").rpartition("/")[2]
            if name != CURRENT and not name.startswith(".") and (facts := self._facts(name)):
                found.append(Kept(name, facts["made"], facts["models"], name == current))
        return sorted(found, key=lambda one: (one.made, one.name), reverse=True)

    def _listed(self) -> list[str]:
        try:
            return [str(path) for path in self._files.ls(self._root, detail=False)]
        except FileNotFoundError:
            return []

    def _facts(self, name: str) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = json.loads(self._read(f"{name}/{FACTS}"))
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return None
        return found

    def _read(self, path: str) -> bytes:
        found: bytes = self._files.cat_file(f"{self._root}/{path}")
        return found

    def current(self) -> str | None:
        """The name of the release in use."""
        if self._local:
            link = Path(self._root, CURRENT)
            return link.readlink().name if link.is_symlink() else None
        try:
            return self._read(CURRENT).decode("utf-8").strip()
        except FileNotFoundError:
            return None

    def point(self, name: str) -> None:
        """Make a release the one in use, at once.

        Raises:
            DataError: it is not there.
        """
        if self._facts(name) is None:
            there = ", ".join(one.name for one in self.kept()) or "none"
            rule = f"be one of those that are there ({there})"
            raise DataError(broken_rule(self.url, "release", name, rule, "list shows them"))
        if not self._local:
            self._files.pipe_file(f"{self._root}/{CURRENT}", name.encode())
            return
        temporary = Path(self._root, f".{CURRENT}.{os.getpid()}")
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(name)
        temporary.replace(Path(self._root, CURRENT))

    def push(self, folder: Path) -> Iterator[str]:
        """Bring a release here; each file that it brought.

        Raises:
            DataError: a release of that name is there with other files.
        """
        name, sums = folder.name, read_sums(folder)
        coming = sha256_of(folder / SUMS)
        if self._facts(name) is not None:
            if hashlib.sha256(self._read(f"{name}/{SUMS}")).hexdigest() != coming:
                rule, remedy = "be a new one: another release has it", "make it under another name"
                raise DataError(broken_rule(self.url, "name", name, rule, remedy))
            return
        base = f".{name}.incoming" if self._local else name
        there = self._sizes(base) if self._comes(base, coming) else {}
        self._files.makedirs(f"{self._root}/{base}", exist_ok=True)
        self._files.pipe_file(f"{self._root}/{base}/{_INCOMING}", coming.encode())
        signature = [SIGNATURE] if (folder / SIGNATURE).is_file() else []
        for file in [*sorted(sums.keys() - {FACTS}), *signature, SUMS, FACTS]:
            size = (folder / file).stat().st_size
            if there.get(file) != size:
                self._put(folder / file, f"{base}/{file}")
                yield file
        self._files.rm_file(f"{self._root}/{base}/{_INCOMING}")
        if self._local:
            sync_tree(Path(self._root, base))
            Path(self._root, base).rename(Path(self._root, name))

    def _comes(self, name: str, coming: str) -> bool:
        """Whether what is half there is of this release."""
        try:
            return self._read(f"{name}/{_INCOMING}").decode() == coming
        except FileNotFoundError:
            return False

    def _sizes(self, name: str) -> dict[str, int]:
        root = f"{self._root}/{name}"
        found = self._files.find(root, detail=True)
        return {
            str(path).split(f"{root}/", 1)[1]: int(facts["size"]) for path, facts in found.items()
        }

    def _put(self, source: Path, target: str) -> None:
        """A file, whole or not at all."""
        path = f"{self._root}/{target}"
        if not self._local:
            self._files.put_file(str(source), path)
            return
        self._files.makedirs(path.rpartition("/")[0], exist_ok=True)
        self._files.put_file(str(source), f"{path}.part")
        Path(f"{path}.part").replace(path)

    def pull(self, name: str, folder: Path) -> None:
        """Bring a release from here into a folder that is there; files that it has whole are kept.

        Raises:
            DataError: it is not there, or names files outside its folder.
        """
        if self._facts(name) is None:
            rule, remedy = "be there", "list shows those that are"
            raise DataError(broken_rule(self.url, "release", name, rule, remedy))
        sums_bytes = self._read(f"{name}/{SUMS}")
        try:
            sums = sums_of(sums_bytes.decode("utf-8"))
        except ValueError as error:
            raise CheckFailed(
                f"{self.url}/{name}/{SUMS}: must be that of a release ({error})"
            ) from None
        (folder / SUMS).write_bytes(sums_bytes)
        for file, sha in sums.items():
            path = folder / file
            if not (path.is_file() and sha256_of(path) == sha):
                path.parent.mkdir(parents=True, exist_ok=True)
                self._files.get_file(f"{self._root}/{name}/{file}", str(path))
        with contextlib.suppress(FileNotFoundError):
            (folder / SIGNATURE).write_bytes(self._read(f"{name}/{SIGNATURE}"))
