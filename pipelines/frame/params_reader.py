"""Reading params.yaml: sections validated against strict schemas, every problem with its line."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError

from pipelines.frame.errors import ParamsError, broken_rule
from pipelines.frame.params_problems import NAME, NAMED, Keys, dotted, explain, nearest

PARAMS_FILE = Path("params.yaml")
T = TypeVar("T")
Seed = Annotated[int, Field(ge=0, lt=2**32)]  # what torch, NumPy and Lightning all take
Name = Annotated[str, Field(pattern=NAME)]
_DEPTH, _NODES = 30, 100_000  # of any params file; anchors that repeat each other exceed them


class Section(BaseModel):
    """Base of all schemas: no unknown keys, no silent conversion, no change after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


@dataclass(frozen=True)
class ParamsFile:
    """A parsed params.yaml or recipe that still knows the line of each key.

    Attributes:
        path: of the file.
        root: its sections.
        brought: keys that recipes laid over it, with the place they were brought from.
    """

    path: Path
    root: CommentedMap
    brought: Mapping[Keys, str] = field(default_factory=dict)

    def get(self, section: str) -> Any:
        """The raw value at a dotted path such as ``seq2seq.common``.

        Raises:
            ParamsError: a part of the path is missing.
        """
        node: Any = self.root
        parts = section.split(".")
        for number, part in enumerate(parts):
            if not isinstance(node, Mapping) or part not in node:
                known = list(node) if isinstance(node, Mapping) else []
                raise ParamsError(
                    f"{self.place(parts[:number])}: {dotted(parts[: number + 1])} must be set; "
                    f"{nearest(part, known, 'add it')}"
                )
            node = node[part]
        return node

    def place(self, path: Sequence[str | int]) -> str:
        """File and line (from 1) of the deepest part of ``path`` that is known: ``a.yaml:3``."""
        own = f"{self.path}:{self.line(path)}"
        for end in range(len(path), 0, -1):
            if tuple(path[:end]) in self.brought:
                return self.brought[tuple(path[:end])]
        return own

    def line(self, path: Sequence[str | int]) -> int:
        """The line (from 1) of the deepest part of ``path`` that stands in the file itself."""
        node: Any = self.root
        line = 1
        for end, part in enumerate(path, start=1):
            if tuple(path[:end]) in self.brought:
                break
            if isinstance(node, CommentedMap) and part in node:
                if part not in (node.lc.data or ()):
                    break  # a merge key brought it
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
        ParamsError: the file is missing, not UTF-8, not YAML, not a mapping, or has in it what
            params cannot be.
    """
    try:
        root = YAML(typ="rt").load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ParamsError(f"{path}: no such file; run from the root of the checkout") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ParamsError(
            f"{path}: cannot be read ({error}); make it a readable UTF-8 file"
        ) from None
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        raise ParamsError(
            f"{path}{line}: must be valid YAML, but {error.problem or error.context}; correct it"
        ) from None
    except Exception as error:  # ruamel lets through what Python says of dates and tags
        raise ParamsError(f"{path}: must be valid YAML, but {error}; correct it") from None
    if not isinstance(root, CommentedMap):
        raise ParamsError(
            f"{path}: must hold a mapping of sections at its top; see the comments in params.yaml"
        )
    params_file = ParamsFile(path, root)
    only_plain_values(params_file)
    return params_file


def only_plain_values(params_file: ParamsFile) -> None:
    """Refuse what is YAML but no params.

    Raises:
        ParamsError: keys that are no text, values with tags, loops of anchors.
    """
    waiting: list[tuple[Keys, Any]] = [((), params_file.root)]
    seen = 0
    while waiting:
        path, node = waiting.pop()
        seen += 1
        if len(path) > _DEPTH or seen > _NODES:
            raise ParamsError(
                f"{params_file.place(path)}: {dotted(path[:3])}… must not be nested more than "
                f"{_DEPTH} deep or have more than {_NODES:,} values; write it out"
            )
        if isinstance(node, Mapping):
            for key, value in node.items():
                if not isinstance(key, str) or _broken(key):
                    where = params_file.place((*path, key))
                    of = f"name in {dotted(path)}" if path else "name"
                    raise ParamsError(broken_rule(where, of, key, NAMED, "rename it"))
                waiting.append(((*path, key), value))
        elif isinstance(node, list):
            waiting.extend(((*path, number), value) for number, value in enumerate(node))
        elif not isinstance(node, str | int | float | bool | date | None) or _broken(node):
            raise ParamsError(
                f"{params_file.place(path)}: {dotted(path)} must be text, a number of at most "
                "2^53, true, false, null, a list or a block, without tags and halves of letters; "
                "correct it"
            )


def _broken(value: Any) -> bool:
    r"""Whether no JSON can hold it: half of a letter, as in ``"\ud800"``, or a huge number."""
    if isinstance(value, str):
        return any("\ud800" <= letter <= "\udfff" for letter in value)
    return isinstance(value, int) and abs(value) > 2**53


def plain(node: Any) -> Any:
    """Plain dicts, lists and scalars without comments and positions."""
    return json.loads(json.dumps(node, default=str))


def validate(params_file: ParamsFile, section: str, schema: type[T]) -> T:
    """One section as an instance of its schema.

    Raises:
        ParamsError: with one line for every problem found in the section.
    """
    raw = params_file.get(section)
    any_schema: Any = schema
    try:
        valid: T = _adapter(any_schema).validate_json(json.dumps(raw, default=str), strict=True)
    except ValidationError as error:
        raise ParamsError(
            "\n".join(explain(params_file, section, schema, error.errors()))
        ) from None
    return valid


@cache
def _adapter(schema: Any) -> TypeAdapter[Any]:
    return TypeAdapter(schema)
