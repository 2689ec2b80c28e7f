"""Section ``corpus``: where text comes from, and how it is cleaned and split."""

from pathlib import PurePosixPath
from typing import Annotated, Literal

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

    @model_validator(mode="after")
    def _all_splits(self) -> "FilesReader":
        for name, splits, needed in (
            ("documents", set(self.documents), {"train", "valid"}),
            ("pairs", set(self.pairs), {"train", "valid", "test"}),
        ):
            if missing := sorted(needed - splits):
                raise ValueError(f"{name} must name files for {missing[0]}")
        for files in (*self.documents.values(), *self.pairs.values()):
            for file in files.values():
                if PurePosixPath(file).is_absolute() or ".." in PurePosixPath(file).parts:
                    raise ValueError(f"file ({file}) must lie in corpus.raw, which DVC watches")
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
        if self.source_language == self.target_language:
            raise ValueError("source_language and target_language must differ")
        if isinstance(self.reader, EmbeddedReader) and set(self.languages) != {"en", "de"}:
            raise ValueError(f"the embedded grammar speaks en and de, not {self.languages}")
        if isinstance(self.reader, FilesReader):
            for files in (*self.reader.documents.values(), *self.reader.pairs.values()):
                if set(files) != set(self.languages):
                    raise ValueError(
                        f"files must be named for the languages {self.languages}, not "
                        f"{tuple(files)}"
                    )
        return self
