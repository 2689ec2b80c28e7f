"""Reading params.yaml: sections validated against strict schemas, every problem with its line."""

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import YAMLError

from pipelines.frame.errors import ParamsError

PARAMS_FILE = Path("params.yaml")
T = TypeVar("T")
Seed = Annotated[int, Field(ge=0, lt=2**32)]  # what torch, NumPy and Lightning all take


NAME = r"^[a-z][a-z0-9_-]{0,39}$"  # of whatever becomes part of a path, a branch or a command
NAMED = "be lower-case letters, digits, _ and -, a letter first, at most 40"
Name = Annotated[str, Field(pattern=NAME)]


class Section(BaseModel):
    """Base of all schemas: no unknown keys, no silent conversion, no change after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


@dataclass(frozen=True)
class ParamsFile:
    """A parsed params.yaml or recipe that still knows the line of each key."""

    path: Path
    root: CommentedMap

    def get(self, section: str) -> Any:
        """The raw value at a dotted path such as ``seq2seq.common``.

        Raises:
            ParamsError: a part of the path is missing.
        """
        node: Any = self.root
        for part in section.split("."):
            if not isinstance(node, Mapping) or part not in node:
                near = _nearest(part, list(node) if isinstance(node, Mapping) else [])
                raise ParamsError(f"{self.path}: section '{section}' is missing{near}; add it")
            node = node[part]
        return node

    def line(self, path: Sequence[str | int]) -> int:
        """The line (from 1) of the deepest part of ``path`` that exists."""
        node: Any = self.root
        line = 1
        for part in path:
            if isinstance(node, CommentedMap) and part in node:
                if part not in (node.lc.data or ()):
                    break  # a recipe brought it
                line = node.lc.key(part)[0] + 1
            elif isinstance(node, CommentedSeq) and isinstance(part, int) and part < len(node):
                line = node.lc.item(part)[0] + 1
            else:
                break
            node = node[part]
        return line


def read_params(path: Path = PARAMS_FILE) -> ParamsFile:
    """Parse a YAML 1.2 file (there ``1e-4`` is a number).

    Raises:
        ParamsError: the file is missing, not UTF-8, not YAML, or not a mapping.
    """
    try:
        root = YAML(typ="rt").load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ParamsError(f"{path}: no such file; run from the root of the checkout") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ParamsError(
            f"{path}: cannot be read ({error}); make it a readable UTF-8 file"
        ) from None
    except YAMLError as error:
        raise ParamsError(f"{path}: is not valid YAML; {error}") from None
    if not isinstance(root, CommentedMap):
        raise ParamsError(
            f"{path}: must hold a mapping of sections at its top; see the comments in params.yaml"
        )
    return ParamsFile(path, root)


def plain(node: Any) -> Any:
    """Plain dicts, lists and scalars without comments and positions."""
    return json.loads(json.dumps(node, default=str))


def validate(params_file: ParamsFile, section: str, schema: type[T]) -> T:
    """One section as an instance of its schema.

    Raises:
        ParamsError: with one line for every problem found in the section.
    """
    raw = params_file.get(section)
    try:
        return TypeAdapter(schema).validate_json(json.dumps(raw, default=str), strict=True)
    except ValidationError as error:
        problems = [_explain(params_file, section, raw, schema, item) for item in error.errors()]
        raise ParamsError("\n".join(problems)) from None


def _explain(params_file: ParamsFile, section: str, raw: Any, schema: Any, item: Any) -> str:
    loc = _keys_of_the_file(raw, item)
    path = [*section.split("."), *loc]
    where = f"{params_file.path}:{params_file.line(path)}"
    name = ".".join(str(part) for part in path)
    if item["type"] == "extra_forbidden":
        parent = raw
        for part in loc[:-1]:
            parent = parent[part]
        unused = [key for key in _known_keys(schema, item["loc"][:-1]) if key not in parent]
        near = _nearest(str(loc[-1]), unused)
        return (
            f"{where}: {name} ({item['input']!r}) must be a known key{near}; correct or remove it"
        )
    if item["type"] == "missing":
        return f"{where}: {name} must be set; params.yaml is complete, no key has a default in code"
    near = _nearest(str(item["input"]), _choices(item))
    # A rule between keys names their values itself.
    shown = "" if isinstance(item["input"], Mapping) else f" ({item['input']!r})"
    return f"{where}: {name}{shown}: {item['msg']}{near}; correct the value"


def _keys_of_the_file(raw: Any, item: Any) -> list[str | int]:
    """The place of a problem as keys of the file.

    Pydantic's also names validators and the members of unions: of ``{kind: files, word: 1}`` below
    ``reader``, it says (reader, files, word).
    """
    found: list[str | int] = []
    node = raw
    for number, part in enumerate(item["loc"], start=1):
        missing = item["type"] == "missing" and number == len(item["loc"])
        of_mapping = isinstance(node, Mapping) and part in node
        if of_mapping or (isinstance(node, list) and part in range(len(node))):
            node = node[part]
        elif not missing:
            continue
        found.append(part)
    return found


def _known_keys(schema: Any, path: Sequence[str | int]) -> list[str]:
    for part in path:
        schema = _inside(schema, part)
    return list(getattr(schema, "model_fields", {}))


def _inside(schema: Any, part: str | int) -> Any:
    """The schema one step further along pydantic's path; None where it is not known."""
    arguments = get_args(schema)
    if get_origin(schema) is Annotated:
        return _inside(arguments[0], part)
    if get_origin(schema) in (Union, UnionType):
        for member in arguments:
            fields = getattr(member, "model_fields", {}).values()
            if any(part in get_args(field.annotation) for field in fields):
                return member
        return None
    if get_origin(schema) in (list, dict):
        return arguments[-1]
    fields = getattr(schema, "model_fields", {})
    return fields[part].annotation if part in fields else None


def _choices(item: Any) -> list[str]:
    expected = str(item.get("ctx", {}).get("expected", ""))
    return [
        choice.strip(" '") for choice in expected.replace(" or ", ",").split(",") if choice.strip()
    ]


def _nearest(word: str, choices: Sequence[str]) -> str:
    near = difflib.get_close_matches(word, choices, n=1, cutoff=0.5)
    return f" (did you mean '{near[0]}'?)" if near else ""
