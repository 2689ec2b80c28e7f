"""The ``tokenizer`` section."""

from pydantic import Field

from pipelines.sections import Section


class TokenizerParams(Section):
    """A WordPiece vocabulary shared by all languages."""

    vocab_size: int = Field(ge=64, le=65536)
    min_frequency: int = Field(ge=1)
    lowercase: bool
