"""Raw text that can be read but is hardly meant: tables, sides exchanged or alike."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from pipelines.corpus.params import AnyTextReader, CorpusParams
from pipelines.corpus.passages import Document, Pair
from pipelines.corpus.sources.params import AlignedSource, AnySource, TextSource
from pipelines.corpus.sources.paths import expand
from pipelines.corpus.sources.reading import Reader
from pipelines.frame.errors import broken_rule
from pipelines.frame.files import sha256_of
from pipelines.frame.params_reader import ParamsFile
from pipelines.frame.run_folder import folder_of_out
from pipelines.params.raw_text import Sample, share_equal
from pipelines.preflight.finding import Finding, Severity

_ALIKE = 0.5  # a share of equal lines that is no accident
_LOOKED_AT = 2_000  # documents or pairs of a source


def check(
    params_file: ParamsFile, params: CorpusParams, reader: AnyTextReader
) -> Iterator[Finding]:
    """What looks wrong in sources that are all there and can be read."""
    for name, source in reader.sources.items():
        where = _Where(params_file, reader.key(name))
        sides: dict[str, list[str]] = {}  # key → patterns
        if isinstance(source, AlignedSource):
            sides = {reader.side_key(name, one): source.files[one] for one in params.languages}
        elif isinstance(source, TextSource):
            sides = {where.key: source.files}
        files = {
            key: expand(Path(params.raw), patterns, "text", key) for key, patterns in sides.items()
        }
        yield from _tables(files, params_file)
        if isinstance(source, AlignedSource):
            one, other = files.values()
            found = list(_alike_files(one, other, params.languages, where))
            yield from found
            if found:
                continue
        yield from _languages(params, source, where)


@dataclass(frozen=True)
class _Where:
    """A key of params.yaml, to write findings about.

    Attributes:
        params_file: in which it stands.
        key: dotted.
    """

    params_file: ParamsFile
    key: str

    def finding(self, severity: Severity, given: str, rule: str, remedy: str) -> Finding:
        place = self.params_file.place(self.key.split("."))
        return Finding(severity, "text", broken_rule(place, self.key, given, rule, remedy))


def _tables(files: Mapping[str, list[Path]], params_file: ParamsFile) -> Iterator[Finding]:
    """Files that are read as text and are none, by the key that names them."""
    for key, paths in files.items():
        for path in paths:
            if table := Sample.of(path).table:
                rule = f"have a sentence on each line, but looks like {table}"
                remedy = (
                    "`python -m pipelines.params new` makes a recipe of it, or set kind: table in "
                    "reader.kind: sources"
                )
                yield _Where(params_file, key).finding("error", path.name, rule, remedy)


def _alike_files(
    ones: list[Path], others: list[Path], languages: tuple[str, str], where: _Where
) -> Iterator[Finding]:
    """Two sides that are one file, or have the same bytes."""
    for one, other in zip(ones, others, strict=True):
        given = f"{one.name}, {other.name}"
        if one == other:
            rule = f"name a file for {languages[0]} and another for {languages[1]}"
            yield where.finding("error", given, rule, "correct one")
        elif sha256_of(one) == sha256_of(other):
            remedy = "look at them; is one a copy of the other?"
            yield where.finding("warning", given, "differ", remedy)


def _languages(params: CorpusParams, source: AnySource, where: _Where) -> Iterator[Finding]:
    """Text that seems to be in the other language, or the same on both sides; names that are no
    languages are not guessed.
    """
    reading = Reader(Path(params.raw), params.languages)
    first = list(islice(reading.read({"": source}, lambda _: where.key), _LOOKED_AT))
    pairs = [one.sides for one in first if isinstance(one, Pair)]
    given = first[0].file.replace(" and ", ", ") if first else source.kind
    if pairs and (share := share_equal(*zip(*pairs, strict=True))) > _ALIKE:
        rule = f"differ, but {share:.0%} of the first {len(pairs):,} lines are equal"
        yield where.finding("warning", given, rule, "look at them; copies teach a model to copy")
    expected, other = params.languages
    sides = [[one for one, _ in pairs], [two for _, two in pairs]]
    if not pairs:
        documents = [one for one in first if isinstance(one, Document)]
        sides = [[text for one in documents for text in one.sentences if text]]
        if documents and documents[0].language == other:
            expected, other = other, expected
    seen = [Sample(Path(), tuple(side)).languages() for side in sides]
    if not all(seen) or not seen or seen[0][0] != other:
        return
    if pairs and seen[1][0] != expected:
        return
    names = f"{expected} and {other}, in this order," if pairs else expected
    looks = f"{other} and {expected}" if pairs else other
    rule = f"be {names} but looks like {looks}"
    remedy = "exchange them, or corpus.source_language and target_language"
    yield where.finding("warning", given, rule, remedy)


def changed_since(params: CorpusParams) -> Iterator[Finding]:
    """Raw files that are others than those the corpus at hand was made of."""
    folder = folder_of_out("corpus", Path("data/corpus"))
    if folder is None or not (folder / "origin.json").is_file():
        return
    origin = json.loads((folder / "origin.json").read_text(encoding="utf-8"))
    known = {name: sha for name, sha in origin.get("inputs", {}).items() if _below(name, params)}
    made = (folder / "origin.json").stat().st_mtime
    changed = [
        name
        for name, sha in known.items()
        if not Path(name).is_file()
        or (Path(name).stat().st_mtime > made and sha256_of(Path(name)) != sha)
    ]
    if changed:
        some = ", ".join(changed[:3]) + (f" and {len(changed) - 3} more" if changed[3:] else "")
        message = f"{params.raw}: {some} changed since data/corpus was made; it is made anew"
        yield Finding("warning", "text", message)


def _below(name: str, params: CorpusParams) -> bool:
    return Path(name).is_relative_to(params.raw)
