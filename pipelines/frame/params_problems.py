"""What a schema holds against a section, in the words of this project, not pydantic's."""

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipelines.frame.errors import shown
from pipelines.frame.schemas import CHOOSING, fields_at

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from pipelines.frame.params_reader import ParamsFile

NAME = r"^[a-z][a-z0-9_-]{0,39}$"  # of whatever becomes part of a path, a branch or a command
NAMED = "be lower-case letters, digits, _ and -, a letter first, at most 40"
TRAINED = r"^(bert|(seq2seq\.architectures|classification\.tasks)\.[^.]+)$"  # a training's section
LICENSE = r"^[a-z0-9][a-z0-9.+-]*$"
_PATTERNS = {
    NAME: NAMED,
    TRAINED: "be bert, seq2seq.architectures.NAME or classification.tasks.NAME",
    LICENSE: "be an identifier such as cc-by-4.0, in small letters",
    "^data/": "begin with data/",
}
_RULES = {
    "int_type": "be a whole number",
    "int_from_float": "be a whole number",
    "float_type": "be a number",
    "finite_number": "be a finite number",
    "bool_type": "be true or false",
    "string_type": "be text",
    "list_type": "be a list",
    "dict_type": "be a block of keys",
    "model_type": "be a block of keys",
    "model_attributes_type": "be a block of keys",
    "none_required": "be null",
    "greater_than_equal": "be at least {ge}",
    "greater_than": "be above {gt}",
    "less_than_equal": "be at most {le}",
    "less_than": "be below {lt}",
    "multiple_of": "be a multiple of {multiple_of}",
    "too_short": "have at least {min_length} entries",
    "string_too_short": "have at least {min_length} letter",
}
Keys = tuple[str | int, ...]


def dotted(keys: Sequence[str | int]) -> str:
    """``("bert", "phases", 0, "updates")`` → ``bert.phases[0].updates``."""
    written = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys)
    return written.removeprefix(".")


def nearest(word: object, choices: Sequence[str], remedy: str) -> str:
    """``did you mean 'beam_size'?``, or the remedy where nothing is near."""
    near = _nearest_of(word, choices)
    return f"did you mean {near!r}?" if near else remedy


def explain(
    params_file: "ParamsFile", section: str, schema: Any, errors: Sequence["ErrorDetails"]
) -> list[str]:
    """One line for every place in a section that breaks a rule."""
    raw = params_file.get(section)
    found: dict[Keys, list[ErrorDetails]] = {}
    for error in errors:
        found.setdefault(_keys_of_the_file(raw, error), []).append(error)
    # Of `ramp: {updates: 0}`, which may be a block or none, only what is wrong in the block counts;
    # of a block with a wrong name only the name.
    names = [place for place, same in found.items() if _of_a_name(same)]
    hidden = [
        place
        for place in found
        if place not in names
        and (
            any(_below(other, place) for other in found)
            or any(_below(place, name) for name in names)
        )
    ]
    inner = {place: same for place, same in found.items() if place not in hidden}
    unknown = [place for place, same in inner.items() if same[0]["type"] == "extra_forbidden"]
    return [
        _problem(params_file, section, schema, place, same)
        for place, same in inner.items()
        # `beam_sise` is one mistake: that `beam_size` is missing goes without saying.
        if not (same[0]["type"] == "missing" and _misspelt(place, unknown))
    ]


def _misspelt(place: Keys, unknown: Sequence[Keys]) -> bool:
    """Whether an unknown key beside a missing one is it, misspelt."""
    strangers = [str(other[-1]) for other in unknown if other[:-1] == place[:-1]]
    return _nearest_of(place[-1], strangers) is not None


def _of_a_name(errors: Sequence["ErrorDetails"]) -> bool:
    return any(error["loc"][-1:] == ("[key]",) for error in errors)


def _below(place: Keys, other: Keys) -> bool:
    return len(place) > len(other) and place[: len(other)] == other


def _problem(
    params_file: "ParamsFile", section: str, schema: Any, place: Keys, errors: list["ErrorDetails"]
) -> str:
    if _of_a_name(errors):  # whatever else is wrong there
        errors = [error for error in errors if _of_a_name([error])]
    raw, kind, given = params_file.get(section), errors[0]["type"], errors[0]["input"]
    whole = (*section.split("."), *place)
    where, name = params_file.place(whole), dotted(whole)
    parent = _at(raw, place[:-1])
    known = fields_at(schema, raw, place[:-1]) if place else []
    if kind == "extra_forbidden":
        unset = [key for key in known if key not in parent]
        remedy = nearest(place[-1], unset, nearest(place[-1], known, "correct or remove it"))
        return f"{where}: {name} ({_short(given)}) must be one of {', '.join(known)}; {remedy}"
    if kind in ("missing", "union_tag_not_found"):
        return _missing(params_file, whole, parent, known)
    if kind == "value_error":
        return _own_rule(params_file, whole, given, str(errors[0]["ctx"]["error"]))
    if kind == "union_tag_invalid":
        given = errors[0]["ctx"]["tag"]
    if _of_a_name(errors):
        given, name = place[-1], f"name in {dotted(whole[:-1])}"
    rule = " or ".join(dict.fromkeys(map(_rule, errors))).replace(" or be ", " or ")
    choices = [choice for error in errors for choice in _choices(error)]
    remedy = nearest(given, choices, "correct it") if isinstance(given, str) else "correct it"
    return f"{where}: {name} ({_short(given)}) must {rule}; {remedy}"


def _own_rule(params_file: "ParamsFile", whole: Keys, given: Any, message: str) -> str:
    """The problem that a validator of ours names: of this value, or of a key in this block, whose
    name its words begin with.
    """
    remedy = "" if ";" in message else "; correct it"
    begins = re.match(r"([a-z_]+)((\[\d+\]|\.[a-z_]+)*) ", message)
    if begins and isinstance(given, Mapping) and begins[1] in given:
        where = params_file.place([*whole, *_split(begins[0])])
        return f"{where}: {dotted(whole)}.{message}{remedy}"
    return f"{params_file.place(whole)}: {dotted(whole)} ({_short(given)}) {message}{remedy}"


def _choice(block: Any) -> str:
    """The key of a block that chooses its model, if it has one."""
    if not isinstance(block, Mapping):
        return ""
    return next((key for key in CHOOSING if key in block), "")


def _missing(params_file: "ParamsFile", whole: Keys, parent: Any, known: Sequence[str]) -> str:
    """The problem of a key that is not there: ``whole`` is its place, ``parent`` its block."""
    *above, key = whole
    where, name = params_file.place(whole), dotted(whole)
    chosen = (*above, _choice(parent))
    if chosen in params_file.brought:  # the recipe that chose this model has to say the rest
        has = f"a block of {chosen[-1]}: {parent[chosen[-1]]} has {', '.join(known)}"
        return f"{params_file.place(chosen)}: {name} must be set; {has}"
    if strange := _nearest_of(key, [str(one) for one in parent or () if one not in known]):
        remedy = f"is {strange!r} meant for it?"
    elif key == "family" and (named := _nearest_of(above[-1], _beside(params_file, above))):
        remedy = f"did you mean {named!r}?"  # `gru_atention: {dropout: 0.1}` is no new architecture
    elif any(isinstance(part, int) for part in whole):
        remedy = "a list replaces the whole list, so each item is written out"
    else:
        remedy = "params.yaml is complete, no key has a default in code"
    return f"{where}: {name} must be set; {remedy}"


def _beside(params_file: "ParamsFile", whole: Sequence[str | int]) -> list[str]:
    """The keys beside a key, in the same block."""
    return [str(key) for key in _at(params_file.root, tuple(whole[:-1])) or () if key != whole[-1]]


def _nearest_of(word: object, choices: Sequence[str]) -> str | None:
    """The choice that a word may be a misspelling of."""
    return next(iter(difflib.get_close_matches(str(word), choices, n=1, cutoff=0.5)), None)


def _rule(error: "ErrorDetails") -> str:
    kind, context = error["type"], error.get("ctx", {})
    if kind in ("literal_error", "union_tag_invalid"):
        choices = _choices(error)
        return f"be one of {', '.join(choices)}" if len(choices) > 1 else f"be {choices[0]}"
    if kind == "string_pattern_mismatch":
        return _PATTERNS[context["pattern"]]
    if kind == "too_short" and error["input"] == []:
        return "not be empty"
    return _RULES[kind].format(**context)


def _choices(error: "ErrorDetails") -> list[str]:
    """``'a', 'b' or 'c'`` → a, b, c."""
    context = error.get("ctx", {})
    return re.findall(r"'([^']*)'", str(context.get("expected_tags", context.get("expected", ""))))


def _short(value: Any) -> str:
    """A value as messages show it; of a block its keys."""
    return (
        f"a block of {', '.join(map(str, value))}" if isinstance(value, Mapping) else shown(value)
    )


def _split(name: str) -> Keys:
    return tuple(int(part) if part.isdigit() else part for part in re.findall(r"\w+", name))


def _at(raw: Any, place: Keys) -> Any:
    for part in place:
        try:
            raw = raw[part]
        except (KeyError, IndexError, TypeError):
            return None
    return raw


def _keys_of_the_file(raw: Any, error: "ErrorDetails") -> Keys:
    """The place of a problem as keys of the file.

    Pydantic's also names validators and the members of unions: of ``{kind: files, word: 1}`` below
    ``reader``, it says (reader, files, word). Where it misses or refuses the key that chooses the
    model, that key is the place. A member comes right after the block it was chosen for, which may
    have a key of that name too: of ``{kind: sources, sources: {…}}`` (reader, sources, sources).
    """
    found: list[str | int] = []
    node, entered = raw, True
    for number, part in enumerate(error["loc"], start=1):
        if entered and isinstance(node, Mapping):
            entered = False
            if part in (node.get(key) for key in CHOOSING):
                continue
        missing = error["type"] == "missing" and number == len(error["loc"])
        of_mapping = isinstance(node, Mapping) and part in node
        if of_mapping or (isinstance(node, list) and part in range(len(node))):
            node, entered = node[part], True
        elif not missing:
            continue
        found.append(part)
    if error["type"].startswith("union_tag"):
        found.append(error["ctx"]["discriminator"].strip("'"))
    return tuple(found)
