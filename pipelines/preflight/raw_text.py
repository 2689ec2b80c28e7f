"""Raw text that can be read but is hardly meant: tables, sides exchanged or alike."""

import json
from collections.abc import Iterator
from pathlib import Path

from pipelines.corpus.params import CorpusParams, FilesReader
from pipelines.frame.errors import broken_rule
from pipelines.frame.files import sha256_of
from pipelines.frame.params_reader import ParamsFile
from pipelines.frame.run_folder import folder_of_out
from pipelines.params.raw_text import Sample, share_equal
from pipelines.preflight.finding import Finding

_ALIKE = 0.5  # a share of equal lines that is no accident


def check(params_file: ParamsFile, params: CorpusParams, reader: FilesReader) -> Iterator[Finding]:
    """What looks wrong in files that are all there and can be read."""
    raw = Path(params.raw)
    samples = {
        key: [Sample.of(raw / files[language]) for language in params.languages]
        for key, files in reader.files.items()
    }
    for key, sides in samples.items():
        for language, side in zip(params.languages, sides, strict=True):
            if table := side.table:
                name = f"corpus.reader.{key}.{language}"
                rule = f"have a sentence on each line, but looks like {table}"
                remedy = "`python -m pipelines.params new` makes such files of it"
                where = params_file.place(name.split("."))
                yield Finding(
                    "error", "text", broken_rule(where, name, side.path.name, rule, remedy)
                )
        yield from _sides(params_file, params, key, sides)
    yield from _languages(params_file, params, samples)


def _sides(
    params_file: ParamsFile, params: CorpusParams, key: str, sides: list[Sample]
) -> Iterator[Finding]:
    """Two sides that are one file, or mostly equal."""
    name = f"corpus.reader.{key}"
    where, (one, other) = params_file.place(name.split(".")), sides
    given = f"{one.path.name}, {other.path.name}"
    if one.path == other.path:
        rule = f"name a file for {params.source_language} and another for {params.target_language}"
        yield Finding("error", "text", broken_rule(where, name, given, rule, "correct one"))
    elif one.lines and sha256_of(one.path) == sha256_of(other.path):
        remedy = "look at them; is one a copy of the other?"
        yield Finding("warning", "text", broken_rule(where, name, given, "differ", remedy))
    elif key.startswith("pairs") and (share := share_equal(one.lines, other.lines)) > _ALIKE:
        rule = f"differ, but {share:.0%} of the first {len(one.lines):,} lines are equal"
        remedy = "look at them; copies teach a model to copy"
        yield Finding("warning", "text", broken_rule(where, name, given, rule, remedy))


def _languages(
    params_file: ParamsFile, params: CorpusParams, samples: dict[str, list[Sample]]
) -> Iterator[Finding]:
    """Files that seem to be in the other language; names that are no languages are not guessed."""
    source, target = params.languages
    for key, sides in samples.items():
        seen = [side.languages() for side in sides]
        if not all(seen) or seen[0][0] == source or seen[1][0] == target:
            continue
        if seen[0][0] == target and seen[1][0] == source:
            name = f"corpus.reader.{key}"
            where = params_file.place(name.split("."))
            given = ", ".join(side.path.name for side in sides)
            rule = f"be {source} and {target}, in this order, but looks like {target} and {source}"
            remedy = "exchange the files, or corpus.source_language and target_language"
            yield Finding("warning", "text", broken_rule(where, name, given, rule, remedy))


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
