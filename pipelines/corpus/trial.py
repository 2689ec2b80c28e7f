"""What a filter would drop of a sample: ``python -m pipelines.corpus.try FILTER [KEY=VALUE …]``.

Reads the sources of ``params.yaml``, applies the filters that stand before this one in the list,
and shows what it would drop. Nothing is written.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, cast, get_args

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import YAMLError

from pipelines.corpus.cleaning import apply
from pipelines.corpus.filters import AnyFilter
from pipelines.corpus.filters.base import Filter, Passage
from pipelines.corpus.filters.script import scripts_of
from pipelines.corpus.ledger import Ledger
from pipelines.corpus.params import AnyTextReader, CorpusParams, EmbeddedReader
from pipelines.corpus.passages import Pair
from pipelines.corpus.sources.reading import Reader
from pipelines.frame.errors import ParamsError, broken_rule
from pipelines.frame.params_problems import nearest
from pipelines.frame.params_reader import ParamsFile, read_params, validate

FILTERS: dict[str, type[Filter]] = {
    get_args(one.model_fields["name"].annotation)[0]: one
    for one in get_args(get_args(AnyFilter)[0])
}
_WHERE = "corpus.try"


def chosen(
    name: str,
    settings: Sequence[str],
    listed: Sequence[AnyFilter],
    scripts: Mapping[str, Sequence[str]],
) -> AnyFilter:
    """The filter to try: as it stands in params.yaml, else as its schema suggests, with the keys
    that are given changed.

    Args:
        name: of the filter.
        settings: KEY=VALUE each.
        listed: the filters of params.yaml.
        scripts: what each language is written with.

    Raises:
        ParamsError: there is no such filter or key, or a value breaks a rule.
    """
    if name not in FILTERS:
        rule, remedy = f"be one of {', '.join(FILTERS)}", nearest(name, list(FILTERS), "choose one")
        raise ParamsError(broken_rule(_WHERE, "FILTER", name, rule, remedy))
    values = _suggested(FILTERS[name], scripts)
    for one in listed:
        if one.name == name:
            values = one.model_dump()
            break
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or key not in values or key == "name":
            keys = [known for known in values if known != "name"]
            rule = f"be KEY=VALUE, KEY one of {', '.join(keys)}"
            raise ParamsError(
                broken_rule(_WHERE, name, setting, rule, nearest(key, keys, "correct it"))
            )
        try:
            values[key] = YAML(typ="safe").load(text)
        except YAMLError:
            raise ParamsError(
                broken_rule(_WHERE, key, text, "be a value as in params.yaml", "correct it")
            ) from None
    given = ParamsFile(Path(_WHERE), CommentedMap({name: CommentedMap(values)}))
    return cast(AnyFilter, validate(given, name, FILTERS[name]))


def _suggested(schema: type[Filter], scripts: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """The values a filter begins with; those of languages, for the languages at hand."""
    values: dict[str, Any] = {}
    for key, field in schema.model_fields.items():
        options = get_args(field.annotation)
        values[key] = (field.examples or options)[0]
    if "codes" in values:
        values["codes"] = {one: [one] for one in scripts}
    if "scripts" in values:
        values["scripts"] = {one: [*names] for one, names in scripts.items()}
    return values


@dataclass(frozen=True)
class Sample:
    """Text from the beginning of each source.

    Attributes:
        passages: as they are read.
        ledger: with an account of each source.
    """

    passages: list[Passage]
    ledger: Ledger

    def scripts(self) -> dict[str, list[str]]:
        """What each language is written with."""
        texts: dict[str, list[str]] = {one: [] for one in self.ledger.languages}
        for one in self.passages:
            if isinstance(one, Pair):
                for language, side in zip(texts, one.sides, strict=True):
                    texts[language].append(side)
            else:
                texts[one.language] += [text for text in one.sentences if text]
        return {language: scripts_of(found) for language, found in texts.items() if any(found)}


def read_sample(params: CorpusParams, reader: AnyTextReader, size: int) -> Sample:
    """So many documents or pairs of each source.

    Raises:
        DataError: see `Reader.read`.
    """
    reading = Reader(Path(params.raw), params.languages)
    passages: list[Passage] = []
    for name, source in reader.sources.items():
        passages += islice(reading.read({name: source}, reader.key), size)
    return Sample(passages, Ledger(params.languages, reading.ledger.accounts))


def trial(sample: Sample, reader: AnyTextReader, each: AnyFilter, shown: int) -> Iterator[str]:
    """Lines for people: how much of a sample a filter drops, by source, and what.

    Args:
        sample: to try it on.
        reader: with the filters that stand before it.
        each: the filter.
        shown: examples of each source.
    """
    passages, ledger = sample.passages, sample.ledger
    for before in reader.filters:
        if before.name == each.name:
            break
        passages = apply(before, passages, ledger)
    read = _units(passages)
    apply(each, passages, ledger)
    for name, count in read.items():
        dropped = ledger.accounts[name].dropped.get(each.name)
        what = ledger.accounts[name].holds.replace("documents", "sentences")
        number = dropped.count if dropped else 0
        yield f"{name}: {number:,} of {count:,} {what} would go ({number / max(1, count):.1%})"
        for one in dropped.samples[:shown] if dropped else ():
            yield f"  {one['where']}: {one['text']}"


def _units(passages: Sequence[Passage]) -> Mapping[str, int]:
    counts: dict[str, int] = {}
    for one in passages:
        number = 1 if isinstance(one, Pair) else sum(bool(text) for text in one.sentences)
        counts[one.source] = counts.get(one.source, 0) + number
    return counts


def main() -> int:
    """Show what a filter would drop."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.corpus.try",
        description=__doc__.split("\n\n")[1],
    )
    parser.add_argument("filter", metavar="FILTER", help=", ".join(FILTERS))
    parser.add_argument(
        "settings", nargs="*", metavar="KEY=VALUE", help="other than in params.yaml"
    )
    parser.add_argument("--sample", type=int, default=20_000, help="documents or pairs of a source")
    parser.add_argument("--show", type=int, default=5, help="examples of each source, at most 5")
    arguments = parser.parse_args()
    params = validate(read_params(), "corpus", CorpusParams)
    if isinstance(params.reader, EmbeddedReader):
        rule, remedy = "be files or sources", "apply a recipe with your text (docs/corpus.md)"
        raise ParamsError(
            broken_rule("params.yaml", "corpus.reader.kind", "embedded", rule, remedy)
        )
    sample = read_sample(params, params.reader, arguments.sample)
    each = chosen(arguments.filter, arguments.settings, params.reader.filters, sample.scripts())
    for line in trial(sample, params.reader, each, arguments.show):
        print(line)
    values = ", ".join(f"{key}: {_yaml(value)}" for key, value in each.model_dump().items())
    print(f"in params.yaml, under corpus.reader.filters:\n- {{{values}}}")
    return 0


def _yaml(value: Any) -> str:
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {_yaml(one)}' for key, one in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_yaml, value))}]"
    return str(value)
