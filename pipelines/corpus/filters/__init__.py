"""Filters: what is dropped of a corpus before it is split, each in a module of its own.

To add one: a module with its class (`base.Filter`), its name in `AnyFilter` below, a test, and a
row of the table in docs/own-text.md.
"""

from typing import Annotated

from pydantic import Field

from pipelines.corpus.filters.boilerplate import Boilerplate
from pipelines.corpus.filters.copies import Copies
from pipelines.corpus.filters.duplicates import Duplicates
from pipelines.corpus.filters.language import LanguageFilter
from pipelines.corpus.filters.length import Length
from pipelines.corpus.filters.length_ratio import LengthRatio
from pipelines.corpus.filters.letters import Letters
from pipelines.corpus.filters.near_duplicates import NearDuplicates
from pipelines.corpus.filters.numbers import Numbers
from pipelines.corpus.filters.repetition import Repetition
from pipelines.corpus.filters.script import Script

AnyFilter = Annotated[
    Length
    | LengthRatio
    | Letters
    | Script
    | Repetition
    | Boilerplate
    | LanguageFilter
    | Copies
    | Numbers
    | Duplicates
    | NearDuplicates,
    Field(discriminator="name"),
]
