"""Laying recipes over params.yaml, in memory; nothing here reads or writes a file.

Mappings merge, lists and values replace, ``null`` removes. A block whose ``name``, ``kind`` or
``family`` changes keeps the keys that the new choice has too, and loses the others: over
``{name: linear, warmup_updates: 30, final_factor: 0.0}`` a recipe's ``{name: constant}`` leaves
``{name: constant, warmup_updates: 30}``.
"""

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ruamel.yaml.comments import CommentedMap

from pipelines.frame.errors import ParamsError, broken_rule
from pipelines.frame.params_problems import Keys, dotted, nearest
from pipelines.frame.params_reader import ParamsFile, plain
from pipelines.frame.schemas import chosen_anew, fields_at, inside
from pipelines.params.rules import AllParams


def laid_over(
    base: ParamsFile,
    overlay: Mapping[str, Any],
    place: Callable[[Keys], str],
    once_there: Callable[[Keys], bool] = lambda _: False,
) -> ParamsFile:
    """``base`` under an overlay; what is wrong in the result is told with the overlay's places.

    Args:
        base: params.yaml, or what earlier overlays made of it.
        overlay: sections.
        place: file and line of a key of the overlay.
        once_there: whether a key that is removed without being there was one of params.yaml.

    Raises:
        ParamsError: a key is removed that never was one.
    """
    root, brought = copy.deepcopy(base.root), dict(base.brought)
    _merge(root, overlay, (), AllParams, _Overlay(place, once_there, brought))
    return ParamsFile(base.path, root, brought)


class _Overlay:
    """What merging needs to know of an overlay beside its values."""

    def __init__(
        self,
        place: Callable[[Keys], str],
        once_there: Callable[[Keys], bool],
        brought: dict[Keys, str],
    ) -> None:
        self.place, self.once_there, self.brought = place, once_there, brought

    def bring(self, keys: Keys, value: Any) -> None:
        """Note where a key and all below it come from."""
        self.brought[keys] = self.place(keys)
        if isinstance(value, list):
            value = dict(enumerate(value))
        if isinstance(value, Mapping):
            for key, inner in value.items():
                self.bring((*keys, key), inner)

    def forget(self, keys: Keys) -> None:
        """What is replaced or removed comes from nowhere."""
        for known in [known for known in self.brought if known[: len(keys)] == keys]:
            del self.brought[known]


def _merge(
    base: CommentedMap, overlay: Mapping[str, Any], keys: Keys, schema: Any, over: _Overlay
) -> None:
    before = set(base)
    if chosen_anew(schema, base, overlay):
        after = {**base, **{key: value for key, value in overlay.items() if value is not None}}
        known = fields_at(schema, after, ())
        for key in [key for key in base if known and key not in known]:
            _remove(base, key, keys, over)
    for key, value in overlay.items():
        place = (*keys, key)
        if value is None and not _may_be_null(schema, base, key):
            if key not in before:
                _check_removal(base, place, schema, over)
            _remove(base, key, keys, over)
        elif isinstance(value, Mapping) and isinstance(base.get(key), Mapping):
            _merge(base[key], value, place, inside(schema, {**base, **overlay}, key), over)
        else:
            over.forget(place)
            over.bring(place, value)
            base[key] = _own(value)


def _may_be_null(schema: Any, base: Mapping[str, Any], key: str) -> bool:
    """Whether null is a value here, as of ``tracking.entity``."""
    return type(None) in getattr(inside(schema, base, key), "__args__", ())


def _check_removal(base: Mapping[str, Any], place: Keys, schema: Any, over: _Overlay) -> None:
    """A recipe may be applied twice, so what it removes may be gone; but it must have been one."""
    *_, key = place
    known = fields_at(schema, base, ())
    if key not in known and not over.once_there(place):
        raise ParamsError(
            broken_rule(
                over.place(place),
                dotted(place),
                None,
                "be a key of params.yaml to be removed",
                nearest(key, list(base), "correct it or leave it out"),
            )
        )


def _remove(base: CommentedMap, key: str, keys: Keys, over: _Overlay) -> None:
    over.forget((*keys, key))
    base.pop(key, None)


def _own(value: Any) -> Any:
    """A copy that shares nothing with other blocks, in the form in which DVC writes params.

    Merge keys and aliases are written out; lists lose their comments.
    """
    if isinstance(value, list):
        return plain(value)
    if not isinstance(value, Mapping):
        return value
    if getattr(value, "merge", None) or not isinstance(value, CommentedMap):
        return CommentedMap(plain(value))
    copied = copy.copy(value)
    for key, inner in value.items():
        copied[key] = _own(inner)
    return copied


def differences(before: Any, after: Any, path: str = "") -> Iterator[str]:
    """One line per changed setting, ``key: old → new``; a block that is gone is one word."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in [*before, *(key for key in after if key not in before)]:
            where = f"{path}.{key}".lstrip(".")
            if key not in after:
                yield f"{where}: removed"
            elif key not in before and isinstance(after[key], Mapping) and after[key]:
                yield from differences({}, after[key], where)
            elif key not in before:
                yield f"{where}: – → {_shown(after[key])}"
            else:
                yield from differences(before[key], after[key], where)
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for number, (old, new) in enumerate(zip(before, after, strict=True)):
            yield from differences(old, new, f"{path}[{number}]")
    elif before != after:
        yield f"{path}: {_shown(before)} → {_shown(after)}"


def _shown(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
