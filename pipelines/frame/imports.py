"""The project modules a module imports, read from the source without running it.

Two users: the key of a run folder (which code made this?) and the test that holds ``dvc.yaml`` to
the import graph (which code re-runs this stage?).
"""

import ast
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

PROJECT_PACKAGES = ("pipelines",)

# An edit below these re-runs nothing: the frame moves bytes and processes, a watch decides no bit.
OUTSIDE = ("pipelines/frame/", "pipelines/watch/")


def code_of(modules: Iterable[str]) -> list[Path]:
    """All project files that ``modules`` import, directly or not,
    but for `OUTSIDE` and ``__init__`` files.

    The latter hold a docstring and, the uppermost one, what a terminal needs.
    """
    return [
        path
        for path in sorted(_closure(modules))
        if path.name != "__init__.py" and not path.as_posix().startswith(OUTSIDE)
    ]


def _closure(modules: Iterable[str]) -> set[Path]:
    found: set[Path] = set()
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        for path in _files(module):
            if path not in found:
                found.add(path)
                waiting.extend(_imported(path.read_text(encoding="utf-8")))
    return found


def _files(module: str) -> Iterator[Path]:
    """The module's own file and the ``__init__`` of every package above it."""
    parts = module.split(".")
    for depth in range(1, len(parts) + 1):
        base = Path(*parts[:depth])
        if (base / "__init__.py").is_file():
            yield base / "__init__.py"
    if base.with_suffix(".py").is_file():
        yield base.with_suffix(".py")


@lru_cache(maxsize=1024)  # a process asks before and after its stage, and for each of several
def _imported(source: str) -> tuple[str, ...]:
    """Names of project modules, and of what may be one, in the imports of a file's text."""
    found: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return tuple(name for name in found if name.split(".")[0] in PROJECT_PACKAGES)
