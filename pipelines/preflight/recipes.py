"""Recipes: overlays on params.yaml, of which one or several are written into it.

python -m pipelines.preflight.recipes apply recipes/multi30k.yaml
"""

import copy
import io
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from pipelines.frame.errors import MasklineError, ParamsError
from pipelines.frame.params_reader import PARAMS_FILE, ParamsFile, plain, read_params
from pipelines.preflight.rules import problems_of


def apply_recipes(recipes: Sequence[Path], target: Path = PARAMS_FILE) -> list[str]:
    """Write overlays into params.yaml, one over the other; only the last result has to be valid.

    Comments are kept; mappings merge, lists and scalars replace, null deletes.

    Returns:
        One line per changed key, ``key: old → new``.

    Raises:
        ParamsError: the result would break a rule; nothing is written then.
    """
    params_file = read_params(target)
    before = plain(params_file.root)
    for recipe in recipes:
        _merge(params_file.root, read_params(recipe).root)
    names = ", ".join(map(str, recipes))
    stream = io.StringIO()
    _writer().dump(params_file.root, stream)
    if problems := problems_of(
        ParamsFile(
            Path("+".join([str(target), *(path.name for path in recipes)])), params_file.root
        )
    ):
        raise ParamsError(
            "\n".join(
                [f"{names}: applied to {target} it breaks rules; nothing was written", *problems]
            )
        )
    temporary = target.with_suffix(".tmp")
    temporary.write_text(stream.getvalue(), encoding="utf-8")
    os.replace(temporary, target)
    return list(_differences(before, plain(params_file.root)))


def problems_with(
    recipes: Sequence[Path], overrides: Sequence[Mapping[str, Any]]
) -> Iterator[list[str]]:
    """Everything wrong with params.yaml under some recipes and one of each
    of the overrides; nothing is written.

    Raises:
        ParamsError: a file cannot be read.
    """
    base = read_params()
    for recipe in recipes:
        _merge(base.root, read_params(recipe).root)
    for one in overrides:
        root = copy.deepcopy(base.root)
        _merge(root, one)
        yield problems_of(ParamsFile(base.path, root))


def _writer() -> YAML:
    writer = YAML(typ="rt")
    writer.width = 120
    writer.indent(mapping=2, sequence=4, offset=2)
    writer.representer.add_representer(
        type(None), lambda dumper, _: dumper.represent_scalar("tag:yaml.org,2002:null", "null")
    )
    return writer


def _merge(base: CommentedMap, overlay: Mapping[str, Any]) -> None:
    for key, value in overlay.items():
        if value is None:
            base.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(base.get(key), Mapping):
            _merge(base[key], value)
        else:
            base[key] = _own(value)


def _own(value: Any) -> Any:
    """A copy that shares nothing with other blocks: merge keys and aliases are written out."""
    if not isinstance(value, Mapping):
        return value
    if getattr(value, "merge", None):
        return CommentedMap(plain(value))
    copied: Any = copy.copy(value)
    for key, inner in value.items():
        copied[key] = _own(inner)
    return copied


def _differences(before: Any, after: Any, path: str = "") -> Iterator[str]:
    if isinstance(before, dict) and isinstance(after, dict):
        for key in [*before, *(key for key in after if key not in before)]:
            yield from _differences(
                before.get(key, "–"), after.get(key, "–"), f"{path}.{key}".lstrip(".")
            )
    elif before != after:
        yield f"{path}: {before} → {after}"


def main(arguments: list[str]) -> int:
    """Apply the recipes named on the command line; the exit code."""
    try:
        if len(arguments) < 2 or arguments[0] != "apply":
            raise ParamsError(f"arguments ({arguments}) must be 'apply RECIPE …'; correct them")
        changes = apply_recipes([Path(name) for name in arguments[1:]])
        print("\n".join(changes) or f"{PARAMS_FILE}: {', '.join(arguments[1:])} is already applied")
    except MasklineError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
