"""The ``tokenizer`` section."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipelines.frame.params_reader import Section

CORPUS = Path("data/corpus")


class TokenizerParams(Section):
    """A vocabulary of subwords shared by all languages.

    Attributes:
        kind: ``wordpiece`` spells a word by the longest pieces that fit, ``bpe`` by the merges in
            the order they were learnt; the pieces are the same.
        vocabulary_from: ``data/corpus`` to train one, or a folder with the ``vocab.txt`` of an
            existing BERT.
        vocab_size: of a trained vocabulary; ``characters``: as small as the text's characters
            allow.
        min_frequency: of a trained vocabulary.
        lowercase: text is lower-cased first.
        strip_accents: accents are taken off first.
    """

    kind: Literal["wordpiece", "bpe"]
    vocabulary_from: str = Field(min_length=1)
    vocab_size: Annotated[int, Field(ge=64, le=2**20)] | Literal["characters"]
    min_frequency: int = Field(ge=1)
    lowercase: bool
    strip_accents: bool

    @property
    def is_trained(self) -> bool:
        """Whether the vocabulary is, rather than taken over."""
        return Path(self.vocabulary_from) == CORPUS

    @model_validator(mode="after")
    def _merges(self) -> "TokenizerParams":
        if self.kind == "bpe" and not self.is_trained:
            raise ValueError(
                f"kind ('bpe') must be wordpiece where vocabulary_from is a BERT's folder "
                f"({self.vocabulary_from}), whose vocab.txt has no merges"
            )
        return self
