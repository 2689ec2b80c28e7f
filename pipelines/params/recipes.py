"""Recipes: files with only what differs from params.yaml, to be laid over it."""

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from pipelines.frame.errors import ParamsError
from pipelines.frame.params_problems import Keys, nearest
from pipelines.frame.params_reader import PARAMS_FILE, ParamsFile, plain, read_params
from pipelines.params.kept import kept_versions, write_params
from pipelines.params.overlay import differences, laid_over
from pipelines.params.rules import problems_of

FOLDER = Path("recipes")


def recipe_file(name: str) -> Path:
    """The file of a recipe: ``multi30k``, ``multi30k.yaml``, or the path of a file anywhere.

    Raises:
        ParamsError: there is none; those that exist are listed.
    """
    for path in (FOLDER / f"{name}.yaml", FOLDER / name, Path(name), Path(f"{name}.yaml")):
        if path.is_file():
            return path
    known = sorted(path.stem for path in FOLDER.glob("*.yaml"))
    wanted = nearest(Path(name).stem, known, "give one of these, or the path of a file")
    raise ParamsError(f"recipe ({name!r}) must be one of {', '.join(known)}; {wanted}")


def with_recipes(recipes: Sequence[str | Path], target: Path = PARAMS_FILE) -> ParamsFile:
    """params.yaml with recipes laid over it, one over the other; no file is written.

    Raises:
        ParamsError: a file cannot be read, or a recipe removes what never was there.
    """
    laid = read_params(target)
    for recipe in recipes:
        read = read_params(recipe if isinstance(recipe, Path) else recipe_file(recipe))
        laid = laid_over(laid, read.root, read.place, lambda keys: _was_there(target, keys))
    return laid


def with_overrides(base: ParamsFile, overrides: Mapping[str, Any]) -> ParamsFile:
    """``base`` with settings that a flow or a sweep was given, as a mapping of sections."""
    return laid_over(base, overrides, lambda _: "overrides")


def apply_recipes(recipes: Sequence[str | Path], target: Path = PARAMS_FILE) -> list[str]:
    """Lay recipes over params.yaml and write it, what it was is kept; one line per changed setting.

    Raises:
        ParamsError: the result would break a rule; nothing is written then.
    """
    before = plain(read_params(target).root)
    laid = with_recipes(recipes, target)
    names = ", ".join(map(str, recipes))
    if problems := problems_of(laid):
        rules = f"{names}: laid over {target} it breaks rules; nothing was written"
        raise ParamsError("\n".join([rules, *problems]))
    changes = list(differences(before, plain(laid.root)))
    if changes:
        write_params(laid.root, f"applying {names}", target)
    return changes


def overview(target: Path = PARAMS_FILE) -> Iterator[tuple[str, bool, str]]:
    """Of each recipe: its name, whether laying it over params.yaml would change nothing, and the
    first line it says of itself.
    """
    now = plain(read_params(target).root)
    for path in sorted(FOLDER.glob("*.yaml")):
        first = path.read_text(encoding="utf-8").partition("\n")[0]
        try:
            changes = list(differences(now, plain(with_recipes([path], target).root)))
        except ParamsError:
            changes = ["it cannot be read"]
        yield path.stem, not changes, first.removeprefix("# ") if first.startswith("#") else ""


def _was_there(target: Path, keys: Keys) -> bool:
    """Whether a key was in params.yaml once: as committed, before a recipe, or in a recipe."""
    recipes = [path.read_text(encoding="utf-8") for path in FOLDER.glob("*.yaml")]
    for text in (*kept_versions(target), _committed(target.absolute()), *recipes):
        node = _loaded(text)
        for key in keys:
            node = node.get(key) if isinstance(node, Mapping) else None
        if node is not None:
            return True
    return False


@cache
def _loaded(text: str) -> Any:
    try:
        return YAML(typ="safe").load(text)
    except Exception:  # whatever stands there, it tells nothing of former keys
        return None


@cache
def _committed(target: Path) -> str:
    """The file as git knows it; empty where there is no git or it knows none."""
    command = ["git", "show", f"HEAD:./{target.name}"]
    try:
        found = subprocess.run(command, cwd=target.parent, capture_output=True, check=False)
    except OSError:
        return ""
    return found.stdout.decode("utf-8", errors="replace")
