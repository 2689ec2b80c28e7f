"""Pairs of translation memories (TMX), and of OPUS's zips with their Moses files."""

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

from pipelines.corpus.sources.opening import BROKEN, decoded, opened, watched
from pipelines.corpus.sources.plain import aligned
from pipelines.frame.errors import DataError

_LANGUAGE = "{http://www.w3.org/XML/1998/namespace}lang"
_CODES = {"bpt", "ept", "ph", "it", "ut"}  # formatting of other programs, no text (TMX 1.4b, 3.2)
Numbered = tuple[int, tuple[str, str]]


def tmx_pairs(path: Path, languages: tuple[str, str]) -> Iterator[Numbered]:
    """The pairs of a TMX file, each with the number of its unit.

    Of a unit that has a language more than once the first variant is taken; a side that it lacks is
    empty.

    Raises:
        DataError: it is no TMX, or no unit has both languages.
    """
    import xml.etree.ElementTree as ET

    from defusedxml.common import DefusedXmlException
    from defusedxml.ElementTree import iterparse

    number, both = 0, False
    seen: set[str] = set()
    try:
        with opened(path) as file:
            for _, element in iterparse(file, events=("end",)):
                if element.tag != "tu":
                    continue
                number += 1
                sides = _sides(element, languages, seen)
                both = both or all(sides)
                element.clear()
                yield number, sides
    except (ET.ParseError, DefusedXmlException) as error:
        what = error if isinstance(error, ET.ParseError) else f"{type(error).__name__} in it"
        raise DataError(f"{path}: must be TMX ({what}); check the file") from None
    if not both:
        raise DataError(
            f"{path}: units with {languages[0]} and {languages[1]} (0 of {number}) must be at "
            f"least 1; it has {', '.join(sorted(seen)) or 'no language'}; correct "
            "corpus.source_language and target_language"
        )


def _sides(unit: Any, languages: tuple[str, str], seen: set[str]) -> tuple[str, str]:
    found: dict[str, str] = {}
    for variant in unit.iter("tuv"):
        language = (variant.get(_LANGUAGE) or variant.get("lang") or "").lower().replace("_", "-")
        seen.add(language)
        segment = variant.find("seg")
        if segment is not None:
            found.setdefault(language, _text(segment))
    exact = [found.get(language.lower(), "") for language in languages]
    near = [
        next((text for tag, text in found.items() if tag.split("-")[0] == language.lower()), "")
        for language in languages
    ]
    one, other = (whole or part for whole, part in zip(exact, near, strict=True))
    return one, other


def _text(element: Any) -> str:
    text = element.text or ""
    for child in element:
        text += ("" if child.tag in _CODES else _text(child)) + (child.tail or "")
    return text


def opus_pairs(path: Path, languages: tuple[str, str]) -> Iterator[tuple[str, Numbered]]:
    """The pairs of a zip: the name of its corpus, line, sides.

    Raises:
        DataError: it is no zip, is damaged or locked, or lacks the two Moses files.
    """
    try:
        with opened(path), zipfile.ZipFile(path) as archive:
            for names in _moses(path, archive.namelist(), languages):
                files = [_member(path, archive, name) for name in names]
                sides = [decoded(file, f"{path}/{names[side]}") for side, file in enumerate(files)]
                stem = names[0].removesuffix(f".{languages[0]}")
                for pair in aligned(f"{path}: {' and '.join(names)}", sides):
                    yield stem, pair
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: cannot be read as UTF-8 text ({error.reason}); check the file"
        ) from None
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, *BROKEN) as error:
        raise DataError(f"{path}: cannot be read as a zip ({error}); check the file") from None


def _member(path: Path, archive: zipfile.ZipFile, name: str) -> BinaryIO:
    packed = archive.getinfo(name).compress_size
    return watched(cast(BinaryIO, archive.open(name)), f"{path}/{name}", packed)


def _moses(path: Path, names: list[str], languages: tuple[str, str]) -> list[tuple[str, str]]:
    """The files that are there for both languages."""
    one, other = (f".{language}" for language in languages)
    stems = sorted(name.removesuffix(one) for name in names if name.endswith(one))
    found = [(stem + one, stem + other) for stem in stems if stem + other in names]
    if not found:
        raise DataError(
            f"{path}: must hold two Moses files, *{one} and *{other}, but has "
            f"{', '.join(names[:8]) or 'nothing'}; take the download for Moses, or correct "
            "corpus.source_language and target_language"
        )
    return found
