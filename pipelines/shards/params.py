"""The ``shards`` section."""

from typing import Literal

from pydantic import Field

from pipelines.frame.params_reader import Section


class ShardsParams(Section):
    """How text becomes arrays.

    Attributes:
        too_long: sentences above the limit are cut and counted, or refused with the place of the
            first.
    """

    max_sentence_tokens: int = Field(ge=4, le=4096)
    too_long: Literal["cut", "refuse"]
