"""Where spaces stand between words: BERT's pre-tokenizer forgets it,
so rules guess and two tokens say the rest.

BERT splits off every punctuation mark and every Han character and drops the spaces.
`guessed_spaces` puts back what is usual: ``( a )`` was ``(a)``. Where a text differs from the
guess, as in ``rock - climbing`` or ``U.S.A.``, a target carries a token more, [SPACE] or [JOIN], so
that decoding gives the text back as it was (decision 0014).

    text    U.S. rock - climbing
    words   U   .        S   .   rock   -         climbing
    guess   U.  S.  rock-climbing
    target  U   .  [JOIN]  S   .   rock  [SPACE]  -  [SPACE]  climbing

The names of both tokens hold brackets, which BERT makes words of their own: no text can be mistaken
for them.
"""

import unicodedata
from collections.abc import Sequence
from itertools import pairwise

SPACE_TOKEN, JOIN_TOKEN = "[SPACE]", "[JOIN]"
SPACING_TOKENS = (SPACE_TOKEN, JOIN_TOKEN)
# Tokens of an existing BERT's vocabulary that are kept free for such uses.
SPARE_TOKENS = ("[unused0]", "[unused1]")

_OPENING = frozenset("¿¡$#@")  # beside Unicode's Ps and Pi
_ALONE = frozenset("&*†‡§¶•")  # of Unicode's Po; and all dashes and symbols but these:
_BETWEEN = frozenset("'’/-‐‑\\_・·״׳־")  # joined to both sides where words stand there
_IN_NUMBERS = frozenset(".,:٫٬")
# What opens → what closes it.
_CLOSED_BY = {'"': '"', "„": "“”", "‚": "‘’", "“": "”", "«": "»", "»": "«", "‹": "›", "›": "‹"}
# Ranges of Han characters, as BertNormalizer has them.
HAN = (
    *(
        (0x4E00, 0x9FFF),
        (0x3400, 0x4DBF),
        (0x20000, 0x2A6DF),
        (0x2A700, 0x2B73F),
        (0x2B740, 0x2B81F),
    ),
    *((0x2B920, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F)),
)
# Ranges of the punctuation of Chinese, Japanese and Korean.
WIDE = ((0x3001, 0x303F), (0xFF01, 0xFF0F), (0xFF1A, 0xFF20), (0xFF3B, 0xFF40), (0xFF5B, 0xFF65))


def guessed_spaces(words: Sequence[str]) -> list[bool]:
    """Whether a space is to be expected after each word but the last.

    Args:
        words: as BERT's pre-tokenizer splits them: letters and digits, or one punctuation mark or
            Han character.
    """
    sides = _Sides()
    joins = [sides.of(words, number) for number in range(len(words))]
    return [
        not (right or left or _written_without_spaces(words[number], words[number + 1]))
        for number, ((_, right), (left, _)) in enumerate(pairwise(joins))
    ]


class _Sides:
    """To which sides each word of a sentence is joined;
    quotation marks depend on those before them.
    """

    def __init__(self) -> None:
        self._open: list[str] = []  # what would close each open quotation

    def of(self, words: Sequence[str], number: int) -> tuple[bool, bool]:
        """Joined to the word before it, to the one after it."""
        mark = words[number]
        if len(mark) != 1 or mark.isalnum():
            return False, False
        category = unicodedata.category(mark)
        if category[0] not in "PS":
            return False, False
        if _is_in(mark, WIDE):
            return True, True
        if mark in _BETWEEN and _between_words(words, number):
            return True, True
        closed = [quotation for quotation in self._open if mark in quotation]
        if closed:
            self._open.remove(closed[-1])
            return True, False
        if mark in _CLOSED_BY:
            self._open.append(_CLOSED_BY[mark])
            return False, True
        if mark in _IN_NUMBERS and _between_digits(words, number):
            return True, True
        if category in ("Ps", "Pi") or mark in _OPENING:
            return False, True
        return category in ("Pe", "Pf") or (
            category == "Po" and mark not in _ALONE and mark not in _BETWEEN
        ), False


def _between_words(words: Sequence[str], number: int) -> bool:
    return (
        0 < number < len(words) - 1
        and _is_word(words[number - 1][-1])
        and _is_word(words[number + 1][0])
    )


def _between_digits(words: Sequence[str], number: int) -> bool:
    return (
        0 < number < len(words) - 1
        and words[number - 1][-1].isdigit()
        and words[number + 1][0].isdigit()
    )


def _is_word(char: str) -> bool:
    return char.isalnum() or unicodedata.category(char)[0] == "M"


def _written_without_spaces(left: str, right: str) -> bool:
    return is_han(left[-1]) or is_han(right[0])


def is_han(char: str) -> bool:
    """Whether BERT makes a word of this character."""
    return _is_in(char, HAN)


def _is_in(char: str, ranges: Sequence[tuple[int, int]]) -> bool:
    return any(first <= ord(char) <= last for first, last in ranges)
