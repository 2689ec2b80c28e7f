"""Writing the folder below data/raw and the recipe, and saying what was found."""

import json
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any
from unicodedata import name as name_of

from jinja2 import Environment, StrictUndefined

from pipelines.formats.text import num_words
from pipelines.frame.errors import ParamsError, broken_rule
from pipelines.frame.params_problems import NAME, NAMED
from pipelines.params.new.documents import (
    BARE,
    copied,
    described,
    fitting,
    layout_of,
)
from pipelines.params.new.find import Found, find
from pipelines.params.new.pairs import SPLITS, Text, read
from pipelines.params.new.sizes import MAX_WORDS, Counts, Sizes, count, guess
from pipelines.params.raw_text import Sample
from pipelines.params.recipes import FOLDER, with_recipes
from pipelines.params.rules import problems_of

RAW = Path("data/raw")
_SHOWN = 6  # files that are left, each with its reason


def new(
    name: str, languages: tuple[str, str], folder: Path, minutes: float, speed: float | None = None
) -> Iterator[str]:
    """Make ``data/raw/<name>`` and ``recipes/<name>.yaml`` of a folder of pairs.

    Args:
        name: of the recipe.
        languages: source and target, as the folder's files or fields are named.
        folder: with text, anywhere; it is only read.
        minutes: that a run may take on this machine.
        speed: see `guess`.

    Yields:
        Lines for people: what was found, what was written, what comes next.

    Raises:
        ParamsError: a name is none or taken, or the recipe does not go with this params.yaml.
        DataError: the folder has no pairs of these languages, or they cannot be read.
    """
    _check_names(name, languages, folder)
    found = find(folder, languages)
    text = read(found, languages)
    counts = count(text)
    sizes = guess(counts, len(text.pairs["train"]), minutes, speed)
    yield from _found_lines(folder, languages, found, text, counts)
    with _nothing_half(name):
        _write_text(text, languages, RAW / name)
        _write_recipe(name, languages, folder, sizes, nsp=bool(found.documents), reader=None)
    yield from _next_lines(name, minutes)


def new_of_documents(
    name: str, language: str, folder: Path, minutes: float, speed: float | None = None
) -> Iterator[str]:
    """The same of a folder of text in one language: files are copied as they are, and the recipe
    says how they are read, cleaned and split. See `new`.
    """
    languages = (BARE, language)
    _check_names(name, languages, folder)
    layout = layout_of(folder, language)
    with _nothing_half(name):
        copied(layout, folder, RAW / name)
        found = fitting(layout, language, name, folder, RAW / name)
        text = found.text
        counts = count(text)
        sizes = guess(counts, len(text.pairs["train"]), minutes, speed)
        nsp = any(len(block.split("\n")) > 1 for block in _blocks(text.documents, language))
        _write_recipe(name, languages, folder, sizes, nsp=nsp, reader=found.reader)
    yield f"found in {folder}:"
    yield from described(found)
    yield from _unused(layout.left, folder)
    yield from _next_lines(name, minutes)


def _blocks(documents: dict[tuple[str, str], list[str]], language: str) -> list[str]:
    return "\n".join(documents["train", language]).split("\n\n")


@contextmanager
def _nothing_half(name: str) -> Iterator[None]:
    """What is written inside is taken away again if anything goes wrong."""
    try:
        yield
    except BaseException:
        (FOLDER / f"{name}.yaml").unlink(missing_ok=True)
        shutil.rmtree(RAW / name, ignore_errors=True)
        raise


def _next_lines(name: str, minutes: float) -> Iterator[str]:
    recipe = FOLDER / f"{name}.yaml"
    yield f"written: {RAW / name}, {recipe} (look at it: it is short)"
    yield f"next:    make check RECIPE={name} && make plan RECIPE={name}"
    yield f"         make run RECIPE={name}        about {minutes:g} minutes on this machine, idle"


def _check_names(name: str, languages: tuple[str, str], folder: Path) -> None:
    for what, value in (("NAME", name), *zip(("--source", "--target"), languages, strict=True)):
        if not re.fullmatch(NAME, value):
            raise ParamsError(broken_rule("params new", what, value, NAMED, "choose another"))
    if languages[0] == languages[1]:
        raise ParamsError(
            broken_rule(
                "params new", "--target", languages[1], "differ from --source", "correct it"
            )
        )
    for path in (FOLDER / f"{name}.yaml", target := RAW / name):
        if path.exists():
            remedy = f"choose another NAME, or remove it; --raw may be any folder but {target}"
            raise ParamsError(
                broken_rule("params new", str(path), name, "not be there yet", remedy)
            )


def _found_lines(
    folder: Path, languages: tuple[str, str], found: Found, text: Text, counts: Counts
) -> Iterator[str]:
    yield f"found in {folder}:"
    for split in SPLITS:
        named = [files for files in found.pairs if (files.split or "train") == split]
        names = sorted({path.name for files in named for path in (files.source, files.target)})
        where = "drawn from the training pairs" if split in text.drawn else ", ".join(names)
        yield f"  {split:6} {len(text.pairs[split]):>9,} pairs      {where}"
    for language in languages:
        lines = text.documents["train", language]
        given = [path.name for _, lang, path in found.documents if lang == language]
        where = ", ".join(given) or "made of the training pairs, ten in each"
        number = sum(not line for line in lines)
        yield f"  {language:6} {number:>9,} documents  {where}"
    for language, side in zip(languages, (0, 1), strict=True):
        yield f"  {language:6} {_described(language, [pair[side] for pair in text.pairs['train']])}"
    yield f"  encoding: UTF-8{''.join(f'; {name} was UTF-16' for name in text.recoded)}"
    yield f"  left out: {text.dropped if text.dropped.total() else 'nothing'}"
    if counts.too_long:
        yield f"  {counts.too_long:,} training pairs above {MAX_WORDS} words will be dropped"
    yield from _unused(found.left, folder)


def _unused(left: list[tuple[Path, str]], folder: Path) -> Iterator[str]:
    for path, why in left[:_SHOWN]:
        yield f"  not used: {path.relative_to(folder)} {why}"
    if len(left) > _SHOWN:
        yield f"  not used: {len(left) - _SHOWN} more files"


def _described(language: str, sides: list[str]) -> str:
    """``8.2 words on average, Latin letters, looks like fr``."""
    letters = Counter(
        name_of(letter, "?").split()[0].title()
        for side in sides[:500]
        for letter in side
        if letter.isalpha()
    )
    scripts = " and ".join(script for script, _ in letters.most_common(2)) or "no"
    scripts = letters.most_common(1)[0][0] if len(letters) == 1 else scripts
    seen = Sample(Path(language), tuple(sides[:300])).languages()
    looks = f"; looks like {seen[0]}" if seen else ""
    mean = sum(map(num_words, sides)) / len(sides)
    doubt = ", not like " + language if seen and language not in seen and len(language) == 2 else ""
    return f"{mean:.1f} words on average, {scripts} letters{looks}{doubt}"


def _write_text(text: Text, languages: tuple[str, str], target: Path) -> None:
    target.mkdir(parents=True)
    for split, pairs in text.pairs.items():
        for side, language in enumerate(languages):
            _write(target / f"{split}.{language}", [pair[side] for pair in pairs])
    for (split, language), lines in text.documents.items():
        if language in languages and split in ("train", "valid"):
            _write(target / f"documents.{split}.{language}", lines)


def _write(path: Path, lines: list[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _write_recipe(
    name: str,
    languages: tuple[str, str],
    folder: Path,
    sizes: Sizes,
    *,
    nsp: bool,
    reader: dict[str, Any] | None,
) -> None:
    """The recipe, if it goes with this params.yaml; its reader is the one given, or reads the
    files that `_write_text` wrote. Without ``nsp`` no sentences of documents follow one another.
    """
    template = files(__package__).joinpath("recipe.yaml.jinja").read_text(encoding="utf-8")
    made_of = " ".join(str(folder).split())[:80]
    note = "" if nsp else "        # pairs follow no text, so there is no next sentence"
    recipe = FOLDER / f"{name}.yaml"
    written = (
        Environment(undefined=StrictUndefined, keep_trailing_newline=True)
        .from_string(template)
        .render(
            title=f"{languages[0]} → {languages[1]}, from {made_of}.",
            name=name,
            raw=(RAW / name).as_posix(),
            source=languages[0],
            target=languages[1],
            sizes=sizes,
            max_words=MAX_WORDS,
            nsp="random" if nsp else "none",
            nsp_note=note,
            reader=reader and _flowing(reader),
        )
    )
    recipe.write_text(written, encoding="utf-8")
    if problems := problems_of(with_recipes([recipe])):
        raise ParamsError("\n".join(problems))


def _flowing(reader: dict[str, Any]) -> dict[str, Any]:
    """The parts of a reader as YAML on a line each; text in quotes, as JSON has it."""

    def line(value: Any) -> str:
        return json.dumps(value, ensure_ascii=False)

    return {
        "sources": {name: line(source) for name, source in reader["sources"].items()},
        "filters": [line(one) for one in reader["filters"]],
        "splits": line(reader["splits"]),
        "make": reader["make"],
    }
