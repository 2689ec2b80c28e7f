"""Section ``corpus``: where text comes from, and how it is cleaned and split."""

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from pipelines.frame.params_reader import Name, Section

Split = Literal["train", "valid", "test"]
Language = Name  # ends a file's name: en, de, question, answer


class EmbeddedReader(Section):
    """Sizes of the corpus the embedded grammar writes."""

    kind: Literal["embedded"]
    num_documents: int = Field(ge=2)
    num_validation_documents: int = Field(ge=2)
    num_training_pairs: int = Field(ge=1)
    num_validation_pairs: int = Field(ge=1)
    num_test_pairs: int = Field(ge=1)


class FilesReader(Section):
    """Plain or gzipped UTF-8 text files in ``corpus.raw``, named by split and language."""

    kind: Literal["files"]
    documents: dict[Literal["train", "valid"], dict[str, str]]
    pairs: dict[Split, dict[str, str]]
    max_words: int = Field(ge=1)

    @property
    def files(self) -> dict[str, dict[str, str]]:
        """Language → file, by the key that names them: ``documents.train``."""
        splits: list[tuple[str, Mapping[Any, dict[str, str]]]] = [
            ("documents", self.documents),
            ("pairs", self.pairs),
        ]
        return {f"{kind}.{split}": files for kind, of in splits for split, files in of.items()}

    @model_validator(mode="after")
    def _all_splits(self) -> "FilesReader":
        wanted = [f"documents.{split}" for split in ("train", "valid")]
        wanted += [f"pairs.{split}" for split in ("train", "valid", "test")]
        for key in wanted:
            if key not in self.files:
                raise ValueError(f"{key} must be set; name a file for each language")
        for key, files in self.files.items():
            for language, file in files.items():
                if PurePosixPath(file).is_absolute() or ".." in PurePosixPath(file).parts:
                    raise ValueError(
                        f"{key}.{language} ({file!r}) must lie in corpus.raw, which DVC watches"
                    )
        return self


class CorpusParams(Section):
    """What text is read, and from where."""

    raw: str
    source_language: Language
    target_language: Language
    reader: Annotated[EmbeddedReader | FilesReader, Field(discriminator="kind")]

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
        if isinstance(self.reader, EmbeddedReader):
            for key, language in (("source_language", source), ("target_language", target)):
                if language not in ("en", "de"):
                    raise ValueError(
                        f"{key} ({language!r}) must be en or de, which the embedded grammar "
                        "writes; other text is read with reader.kind: files"
                    )
        elif isinstance(self.reader, FilesReader):
            for key, files in self.reader.files.items():
                if set(files) != {source, target}:
                    raise ValueError(
                        f"reader.{key} ({', '.join(files)}) must name a file for {source} and one "
                        f"for {target}, the languages"
                    )
        return self
