"""Section ``corpus``: where text comes from, and how it is cleaned and split."""

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from pipelines.corpus.filters import AnyFilter
from pipelines.corpus.filters.length import Length
from pipelines.corpus.sources.params import (
    AlignedSource,
    AnySource,
    Language,
    Pattern,
    Split,
    TextSource,
    has_documents,
    languages_of,
)
from pipelines.frame.params_problems import LICENSE
from pipelines.frame.params_reader import Name, Section

Share = Annotated[float, Field(gt=0, lt=1)]
Held = Share | Annotated[int, Field(ge=1)]


class EmbeddedReader(Section):
    """Sizes of the corpus the embedded grammar writes."""

    kind: Literal["embedded"]
    num_documents: int = Field(ge=2)
    num_validation_documents: int = Field(ge=2)
    num_training_pairs: int = Field(ge=1)
    num_validation_pairs: int = Field(ge=1)
    num_test_pairs: int = Field(ge=1)


class HeldOutDocuments(Section):
    """What is held out of documents: a share, or a number of sentences."""

    valid: Held


class HeldOutPairs(Section):
    """What is held out of pairs: shares, or numbers of pairs."""

    valid: Held
    test: Held


class Splits(Section):
    """What is held out of sources whose ``split`` is ``drawn``."""

    documents: HeldOutDocuments
    pairs: HeldOutPairs


class SourcesReader(Section):
    """Text in whatever form it has: named sources, cleaned by a list of filters, and split.

    Attributes:
        make: what the sources lack and is made of what they have: ``documents`` of the training and
            validation pairs, ten in each; ``pairs`` of the documents of the target language, whose
            sources are the same sentences in lower case without punctuation; or nothing.
    """

    kind: Literal["sources"]
    sources: dict[Name, AnySource] = Field(min_length=1)
    filters: list[AnyFilter]
    splits: Splits
    make: Literal["nothing", "documents", "pairs"]

    def key(self, name: str) -> str:
        """Where a source stands in params.yaml."""
        return f"corpus.reader.sources.{name}"

    def side_key(self, name: str, language: str) -> str:
        """Where one side of a source of two files stands."""
        return f"{self.key(name)}.files.{language}"


class FilesReader(Section):
    """Text files that are split already and need no cleaning: one sentence per line, blank lines
    between documents, plain or packed; named by split and language.
    """

    kind: Literal["files"]
    documents: dict[Literal["train", "valid"], dict[str, Pattern]]
    pairs: dict[Split, dict[str, Pattern]]
    max_words: int = Field(ge=1)

    @property
    def files(self) -> dict[str, dict[str, str]]:
        """Language → file, by the key that names them: ``documents.train``."""
        splits: list[tuple[str, Mapping[Any, dict[str, str]]]] = [
            ("documents", self.documents),
            ("pairs", self.pairs),
        ]
        return {f"{kind}.{split}": files for kind, of in splits for split, files in of.items()}

    @property
    def sources(self) -> dict[str, AnySource]:
        """The same as sources with a split of their own."""
        found: dict[str, AnySource] = {}
        for split, files in self.documents.items():
            for language, file in files.items():
                found[f"documents.{split}.{language}"] = TextSource(
                    kind="text",
                    files=[file],
                    language=language,
                    documents="blank_lines",
                    sentences="lines",
                    split=split,
                    weight=1.0,
                )
        for of_pairs, files in self.pairs.items():
            sides = {language: [file] for language, file in files.items()}
            found[f"pairs.{of_pairs}"] = AlignedSource(
                kind="aligned", files=sides, split=of_pairs, weight=1.0
            )
        return found

    @property
    def filters(self) -> list[AnyFilter]:
        """Training and validation pairs of more than ``max_words`` words on a side are left out."""
        return [
            Length(
                name="length",
                applies_to="pairs",
                min_characters=0,
                max_characters=2**31,
                min_words=0,
                max_words=self.max_words,
            )
        ]

    def key(self, name: str) -> str:
        """Where a source stands in params.yaml."""
        return f"corpus.reader.{name}"

    def side_key(self, name: str, language: str) -> str:
        """Where one side of a pair of files stands."""
        return f"{self.key(name)}.{language}"

    @model_validator(mode="after")
    def _all_splits(self) -> "FilesReader":
        wanted = [f"documents.{split}" for split in ("train", "valid")]
        wanted += [f"pairs.{split}" for split in ("train", "valid", "test")]
        for key in wanted:
            if key not in self.files:
                raise ValueError(f"{key} must be set; name a file for each language")
        return self


AnyTextReader = FilesReader | SourcesReader


class CorpusParams(Section):
    """What text is read, and from where.

    Attributes:
        license: of the text, for the cards of a release; no stage reads it.
    """

    raw: str
    license: Annotated[str, Field(pattern=LICENSE)] | None = Field(exclude=True)
    source_language: Language
    target_language: Language
    reader: Annotated[EmbeddedReader | FilesReader | SourcesReader, Field(discriminator="kind")]

    @property
    def languages(self) -> tuple[str, str]:
        """The languages, source first, target second."""
        return self.source_language, self.target_language

    @field_validator("raw")
    @classmethod
    def _below_raw(cls, value: str) -> str:
        if PurePosixPath(value).parts[:2] != ("data", "raw") or ".." in value:
            raise ValueError("must be a folder below data/raw")
        return value

    @model_validator(mode="after")
    def _languages_fit(self) -> "CorpusParams":
        source, target = self.languages
        if source == target:
            raise ValueError(f"target_language ({target!r}) must differ from source_language")
        match self.reader:
            case EmbeddedReader():
                self._check_embedded()
            case FilesReader():
                for key, files in self.reader.files.items():
                    if set(files) != {source, target}:
                        raise ValueError(
                            f"reader.{key} ({', '.join(files)}) must name a file for {source} and "
                            f"one for {target}, the languages"
                        )
            case SourcesReader():
                _check_sources(self.reader, self.languages)
        return self

    def _check_embedded(self) -> None:
        for key, language in zip(
            ("source_language", "target_language"), self.languages, strict=True
        ):
            if language not in ("en", "de"):
                raise ValueError(
                    f"{key} ({language!r}) must be en or de, which the embedded grammar "
                    "writes; other text is read with reader.kind: sources"
                )


def _check_sources(reader: SourcesReader, languages: tuple[str, str]) -> None:
    """Sources are of the languages, and together have what is not made of the rest.

    Raises:
        ValueError: a rule is broken.
    """
    source, target = languages
    documents: set[str] = set()
    pairs = False
    for name, one in reader.sources.items():
        key = f"reader.sources.{name}"
        named = languages_of(one)
        if has_documents(one):
            (language,) = named or ("",)
            if language not in languages:
                raise ValueError(f"{key}: language ({language}) must be {source} or {target}")
            if one.split == "test" and reader.make != "pairs":
                raise ValueError(
                    f"{key}.split (test) must be train, valid or drawn: documents test nothing, "
                    "unless make is pairs"
                )
            documents.add(language)
        else:
            if named is not None and set(named) != set(languages):
                raise ValueError(
                    f"{key} ({', '.join(named)}) must be of {source} and {target}, the languages"
                )
            pairs = True
    if reader.make == "pairs" and (pairs or documents != {target}):
        raise ValueError(
            f"reader.make (pairs) must be documents or nothing unless all sources are documents in "
            f"{target}, the target language, of which the pairs are made"
        )
    if reader.make != "pairs" and not pairs:
        raise ValueError(
            "reader.sources must hold pairs; add a source of pairs, or set make: pairs"
        )
    if reader.make == "nothing" and (missing := set(languages) - documents):
        raise ValueError(
            f"reader.sources must hold documents in {' and '.join(sorted(missing))}; add a source, "
            "or set make: documents"
        )
