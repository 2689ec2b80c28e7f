"""``script``: sentences in other letters than their language is written with."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from functools import cache
from typing import Literal

from pydantic import Field, field_validator

from pipelines.corpus.filters.base import Filter
from pipelines.frame.params_reader import Name


class Script(Filter):
    """Less than ``min_share`` of the letters are of the scripts of the sentence's language.

    Scripts are named as Unicode names their letters begin: LATIN, CYRILLIC, CJK, HIRAGANA,
    DEVANAGARI. Languages that are not named are not judged; nor are sentences without letters.
    """

    name: Literal["script"]
    scripts: dict[Name, list[str]] = Field(min_length=1, examples=[{"en": ["LATIN"]}])
    min_share: float = Field(ge=0, le=1, examples=[0.5])

    @field_validator("scripts")
    @classmethod
    def _known(cls, value: dict[str, list[str]]) -> dict[str, list[str]]:
        for scripts in value.values():
            for script in scripts:
                if script not in _scripts():
                    raise ValueError(
                        f"script {script!r} must begin the names of letters in Unicode: LATIN, "
                        "GREEK, CYRILLIC, ARABIC, DEVANAGARI, THAI, CJK, HIRAGANA, KATAKANA, "
                        "HANGUL …"
                    )
        return value

    def sentence(self, sentence: str, language: str) -> bool:
        """Too few letters of its scripts."""
        if (expected := self.scripts.get(language)) is None:
            return False
        letters = [_script_of(char) for char in sentence if char.isalpha()]
        return sum(script in expected for script in letters) < self.min_share * len(letters)


def scripts_of(sentences: Iterable[str]) -> list[str]:
    """The scripts of at least a tenth of the letters, the commonest first; none without letters."""
    counts = Counter(_script_of(char) for one in sentences for char in one if char.isalpha())
    return [script for script, count in counts.most_common() if 10 * count >= counts.total()]


@cache
def _script_of(char: str) -> str:
    return re.split("[ -]", unicodedata.name(char, ""))[0]


@cache
def _scripts() -> frozenset[str]:
    return frozenset(_script_of(chr(code)) for code in range(0x20000) if chr(code).isalpha())
