"""The ``shards`` section."""

from pydantic import Field

from pipelines.sections import Section


class ShardsParams(Section):
    """How text becomes arrays."""

    max_sentence_tokens: int = Field(ge=4, le=4096)
