"""What DVC would find in its cache, stage after stage, without running any.

A stage whose deps, params and command are those of an earlier run has the outs of that run, whether
or not they lie in this checkout now. So the outs of one stage tell the deps of the next, also in a
fresh clone or an experiment's worktree, where nothing lies under ``data`` yet.
"""

from collections.abc import Mapping
from io import StringIO
from pathlib import Path, PurePosixPath
from typing import Any

from dvc.dependency.param import ParamsDependency
from dvc.exceptions import DvcException
from dvc.fs import LocalFileSystem
from dvc.repo import Repo
from dvc_data.hashfile.hash_info import HashInfo
from dvc_data.hashfile.meta import Meta
from dvc_data.hashfile.tree import Tree


class WithParams(LocalFileSystem):  # type: ignore[misc]
    """The checkout, with another text of params.yaml than lies there."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text

    def open(self, path: str, mode: str = "r", **kwargs: Any) -> Any:
        """As of any file system; the text for params.yaml."""
        if Path(path).name == "params.yaml":
            return StringIO(self._text)
        return super().open(path, mode, **kwargs)


class Foresight:
    """Outs as they will be; None for those of stages that compute."""

    def __init__(self, repo: Repo) -> None:
        self._repo = repo
        self._outs: dict[str, HashInfo | None] = {}

    def of_dep(self, dep: Any) -> HashInfo | None:
        """The digest a dep will have when its stage's turn comes; an empty one if it is missing,
        None if a stage has to compute first.
        """
        if dep.def_path in self._outs:
            return self._outs[dep.def_path]
        parts = {
            path: info
            for path, info in self._outs.items()
            if PurePosixPath(path).is_relative_to(dep.def_path)
        }
        if None in parts.values():
            return None
        if parts and not all(Path(path).exists() for path in parts):
            return self._joined(dep.def_path, parts)
        found: HashInfo = dep.get_hash() if dep.exists else HashInfo()
        return found

    def _joined(self, folder: str, parts: Mapping[str, HashInfo | None]) -> HashInfo:
        """The digest of a folder that will hold these outs and nothing else."""
        whole: Any = Tree()  # type: ignore[no-untyped-call]
        for path, info in parts.items():
            inside = PurePosixPath(path).relative_to(folder).parts
            for key, meta, oid in Tree.load(self._repo.cache.local, info):
                whole.add((*inside, *key), meta, oid)
        whole.digest()
        joined: HashInfo = whole.hash_info
        return joined

    def cached(self, stage: Any, deps: Mapping[Any, HashInfo], changed: bool) -> bool:
        """Whether DVC has the outs that a stage would make of these deps; then they are foreseen.

        Changes ``stage``, not the checkout.
        """
        if not changed and all(out.hash_info for out in stage.outs) and stage.outs_cached():
            self._outs |= {out.def_path: out.hash_info for out in stage.outs}
            return True
        for dep in stage.deps:
            info = dep.get_hash() if isinstance(dep, ParamsDependency) else deps[dep]
            dep.hash_info, dep.meta = info, Meta()  # of dvc.lock's, DVC would take the digest
            dep.get_hash = lambda info=info: info
        cache = self._repo.stage_cache
        try:
            entry = cache._load(stage)
        except (DvcException, OSError, AssertionError):  # the last: DVC can cache no such stage
            entry = None
        found = cache._create_stage(entry, wdir=stage.wdir) if entry else None
        if found is None or not found.outs_cached():
            self.computes(stage)
            return False
        self._outs |= {out.def_path: out.hash_info for out in found.outs}
        return True

    def computes(self, stage: Any) -> None:
        """A stage runs or waits: what it makes of its deps is known only then."""
        self._outs |= {out.def_path: None for out in stage.outs}
