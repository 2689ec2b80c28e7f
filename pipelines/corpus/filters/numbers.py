"""``numbers``: pairs whose sides name other figures."""

import re
from collections import Counter
from typing import Literal

from pydantic import Field

from pipelines.corpus.filters.base import Filter

# 1,234.5 and 1.234,5 and 1 234,5 are one number: marks between digits do not count.
_NUMBER = re.compile(r"\d+(?:[.,'’ \u00a0\u202f]\d+)*")


class Numbers(Filter):
    """More than ``max_missing`` of one side's numbers of two digits or more are not on the other.

    Digits of any script are read; what stands between digits does not count. Small numbers are
    often written as words.
    """

    name: Literal["numbers"]
    applies_to: Literal["pairs"]
    max_missing: int = Field(ge=0, examples=[0])

    def pair(self, source: str, target: str) -> bool:
        """Other figures."""
        one, other = _numbers(source), _numbers(target)
        return max((one - other).total(), (other - one).total()) > self.max_missing


def _numbers(text: str) -> Counter[str]:
    found = (
        "".join(str(int(char)) for char in match if char.isdecimal())
        for match in _NUMBER.findall(text)
    )
    return Counter(number for number in found if len(number) > 1)
