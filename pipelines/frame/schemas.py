"""What schemas say of a place in params: which keys it may have, and which model is meant there.

A block may be one of several models; its ``name``, ``kind`` or ``family`` chooses. So the schema of
a place depends on the values that stand there.
"""

import inspect
from collections.abc import Mapping, Sequence
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

CHOOSING = ("kind", "name", "family")  # keys by which a block says which of several models it is


def fields_at(schema: Any, value: Any, path: Sequence[str | int]) -> list[str]:
    """Keys that the block at ``path`` may have; none where they are free, or where no block is.

    Args:
        schema: of ``value``.
        value: plain or as read, not validated.
        path: keys and indices from ``value`` on.
    """
    for part in path:
        schema = inside(schema, value, part)
        value = _item(value, part)
    model = _model(schema, value)
    return list(model.model_fields) if model else []


def chosen_anew(schema: Any, old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether laying ``new`` over ``old`` makes the block another model of its union."""
    models = _models(schema)
    keys = {key for model in models for key in _choosing(model)}
    return len(models) > 1 and any(key in new and new[key] != old.get(key) for key in keys)


def inside(schema: Any, value: Any, part: str | int) -> Any:
    """The schema one step further in than that of ``value``; None where none is known."""
    if model := _model(schema, value):
        return model.model_fields[part].annotation if part in model.model_fields else None
    for member in _members(schema):
        if get_origin(member) in (dict, list):
            return get_args(member)[-1]
    return None


def _model(schema: Any, value: Any) -> type[BaseModel] | None:
    """The model that a block is checked against; of several the one that its choice names."""
    models = _models(schema)
    if len(models) == 1:
        return models[0]
    fitting = [
        model
        for model in models
        if isinstance(value, Mapping)
        and all(value.get(key) in allowed for key, allowed in _choosing(model).items())
    ]
    return fitting[0] if fitting else None


def _models(schema: Any) -> list[type[BaseModel]]:
    return [
        member
        for member in _members(schema)
        if inspect.isclass(member) and issubclass(member, BaseModel)
    ]


def _members(schema: Any) -> list[Any]:
    """The members of a union, without annotations; anything else is its own only member."""
    if get_origin(schema) is Annotated:
        return _members(get_args(schema)[0])
    if get_origin(schema) in (Union, UnionType):
        return [one for member in get_args(schema) for one in _members(member)]
    return [schema]


def _choosing(model: type[BaseModel]) -> dict[str, tuple[Any, ...]]:
    """The keys whose value says that a block is this model, with the values that say so."""
    return {
        key: get_args(field.annotation)
        for key, field in model.model_fields.items()
        if key in CHOOSING and get_origin(field.annotation) is Literal
    }


def _item(value: Any, part: str | int) -> Any:
    try:
        return value[part]
    except (KeyError, IndexError, TypeError):
        return None
