"""The ``tokenizer`` section."""

from typing import Annotated, Literal

from pydantic import Field

from pipelines.frame.params_reader import Section


class TokenizerParams(Section):
    """A WordPiece vocabulary shared by all languages.

    Attributes:
        vocabulary_from: ``data/corpus`` to train one, or a folder with the ``vocab.txt`` of an
            existing BERT.
        vocab_size: of a trained vocabulary; ``characters``: as small as the text's characters
            allow.
        min_frequency: of a trained vocabulary.
        lowercase: text is lower-cased first.
        strip_accents: accents are taken off first.
    """

    vocabulary_from: str = Field(min_length=1)
    vocab_size: Annotated[int, Field(ge=64, le=2**20)] | Literal["characters"]
    min_frequency: int = Field(ge=1)
    lowercase: bool
    strip_accents: bool
