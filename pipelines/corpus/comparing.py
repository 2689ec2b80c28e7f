"""When two texts count as the same: the same words, whatever their case and punctuation."""

import re

from pipelines.formats.text import spaced

# ASCII and Latin-1 signs, general punctuation, CJK punctuation and its full-width forms, and the
# stops of Devanagari, Arabic, Armenian, Ethiopic, Khmer, Myanmar and Tibetan.
_SIGNS = re.compile(
    "[!-/:-@\\[-`{-\u00bf\u2010-\u205e\u3001-\u303f\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40"
    "\uff5b-\uff65\u0964\u0965\u060c\u061b\u061f\u06d4\u0589\u1361-\u1368\u17d4-\u17d6\u104a\u104b"
    "\u0f0b-\u0f12]+"
)


def words_of(text: str) -> list[str]:
    """A text's words in one case, without punctuation; each letter is one where a script writes no
    spaces.

    >>> words_of("“Well, a CAT's nap!”"), words_of("猫が、座った。")
    (['well', 'a', 'cat', 's', 'nap'], ['猫', 'が', '座', 'っ', 'た'])
    """
    return spaced(_SIGNS.sub(" ", text.casefold())).split()


def sameness(text: str) -> str:
    """One string for all texts of the same words; signs count where there are no words."""
    return " ".join(words_of(text)) or text
