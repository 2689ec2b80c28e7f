"""The project modules a module imports, read from the source without running it.

Two users: the key of a run folder (which code made this?) and the test that holds ``dvc.yaml`` to
the import graph (which code re-runs this stage?).
"""

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

PROJECT_PACKAGES = ("pipelines",)

# Moves bytes and processes, never numbers: an edit of these files re-runs nothing.
FRAME = frozenset(
    f"pipelines/{name}.py"
    for name in (
        "__init__",
        "allocator",
        "errors",
        "hardware",
        "imports",
        "ranks",
        "records",
        "runfolder",
        "sections",
        "stage",
        "supervision",
        "tracking",
    )
)


def code_of(modules: Iterable[str]) -> list[Path]:
    """All project files that ``modules`` import, directly or not, without the frame.

    Package ``__init__`` files that hold nothing but a docstring are left out.
    """
    return [
        path
        for path in sorted(_closure(modules))
        if path.as_posix() not in FRAME and not (path.name == "__init__.py" and _only_docstring(path))
    ]


def _closure(modules: Iterable[str]) -> set[Path]:
    found: set[Path] = set()
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        for path in _files(module):
            if path not in found:
                found.add(path)
                waiting.extend(_imported(path))
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


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        yield from (name for name in names if name.split(".")[0] in PROJECT_PACKAGES)


def _only_docstring(path: Path) -> bool:
    return all(isinstance(node, ast.Expr) for node in ast.parse(path.read_text(encoding="utf-8")).body)
