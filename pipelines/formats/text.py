"""What happens to a line of text on its way in: one form for one text, the same for every reader.

Documents, sentence pairs, tables, standard input, phrases given on a command line: all pass
`normalise` once. ``tokenizer.json`` holds the same replacements, written as ranges of code points
so that Python's and Oniguruma's expressions agree: whoever loads it elsewhere gets the same ids.
docs/text.md has a table of them for people.
"""

import codecs
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import BinaryIO

JOINERS = "\u180e\u200c\u200d"  # Mongolian vowel separator, zero-width non-joiner and joiner
# Before these a joiner has a meaning: scripts whose spelling needs them, emoji, and all combining
# marks; that is, everything but Latin, Greek and Cyrillic letters, digits, punctuation and spaces.
_JOINED = "\u0300-\u036f\u0483-\u0489\u0590-\u109f\u1100-\u180d"
_JOINED += "\u180f-\u1cff\u1dc0-\u1dff\u20d0-\u20ff\u2190-\u2bff"
_JOINED += "\u2cef-\u2cf1\u2d7f\u2de0-\u2dff\u2e80-\ud7ff"
_JOINED += "\uf900-\ufaff\ufb1d-\ufdff\ufe00-\ufe0f\ufe20-\ufefc"
_JOINED += "\U00010000-\U000e01ef"
# Unicode's Default_Ignorable_Code_Point and the blank Braille pattern: a line of nothing else shows
# nothing.
_UNSEEN = "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"
_UNSEEN += "\u200b-\u200f\u202a-\u202e\u2060-\u206f\u2800\u3164"
_UNSEEN += "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
_UNSEEN += "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"


@dataclass(frozen=True)
class Replacement:
    """Some characters that a text must not have.

    Attributes:
        kind: what they are, for people.
        pattern: a regular expression that Python and Oniguruma read alike.
        by: what comes instead.
    """

    kind: str
    pattern: str
    by: str


BEFORE_COMPOSING = (
    Replacement("control characters to spaces", "[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f]", " "),
    Replacement(
        "other spaces to plain ones",
        "[\t-\r\x85\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]",
        " ",
    ),
    Replacement("byte order marks", "\ufeff", ""),
    Replacement("zero-width spaces", "[\u200b\u2060]", ""),
    Replacement("soft hyphens", "\u00ad", ""),
    Replacement("direction marks", "[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]", ""),
    Replacement(
        "other invisible characters",
        "[\u2061-\u2065\u206a-\u206f\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e00ff]",
        "",
    ),
)
AFTER_COMPOSING = (
    Replacement(
        "joiners with nothing to join",
        f"(?<![{_JOINED}])[{JOINERS}]|[{JOINERS}](?![{JOINERS}]*[^ {JOINERS}])",
        "",
    ),
    Replacement("lines without anything to see", f"^[ {_UNSEEN}{JOINERS}]+$", ""),
)
_COMPILED = {each: re.compile(each.pattern) for each in (*BEFORE_COMPOSING, *AFTER_COMPOSING)}
_ODD = re.compile("|".join(each.pattern for each in BEFORE_COMPOSING) + f"|[{_UNSEEN}{JOINERS}]")
_SEEN = re.compile(
    f"[^\x00-\x20\x7f-\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000{_UNSEEN}{JOINERS}]"
)

# Letters that are written without spaces between words, with the marks on them: Thai, Lao, Tibetan,
# Myanmar, Khmer, kana, bopomofo, Han.
_SPACELESS = "".join(
    (
        "\u0e01-\u0e30\u0e32\u0e33\u0e40-\u0e46\u0e50-\u0e59",  # Thai
        "\u0e81-\u0eb0\u0eb2\u0eb3\u0ebd-\u0ec6\u0ed0-\u0edf",  # Lao
        "\u0f00\u0f20-\u0f33\u0f40-\u0f6c",  # Tibetan
        "\u1000-\u102a\u103f-\u1049\u1050-\u1055",  # Myanmar
        "\u1780-\u17b3\u17e0-\u17e9",  # Khmer
        "\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\uff66-\uff9d",  # kana
        # Han, bopomofo
        "\u3005-\u3007\u3105-\u312f\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af",
    )
)
_MARKS = "".join(
    (
        "\u0e31\u0e34-\u0e3a\u0e47-\u0e4e\u0eb1\u0eb4-\u0ebc\u0ec8-\u0ece",
        "\u0f18\u0f19\u0f35\u0f37\u0f39\u0f3e\u0f3f\u0f71-\u0f87\u0f8d-\u0fbc",
        "\u102b-\u103e\u1056-\u109d\u17b4-\u17d3\u3099\u309a\uff9e\uff9f",
        "\u0300-\u036f\u200c\u200d\ufe00-\ufe0f",
    )
)
_SPACELESS_LETTER = re.compile(f"[{_SPACELESS}][{_MARKS}]*")


def normalise(line: str, note: Callable[[str], None] | None = None) -> str:
    """A line in Unicode's composed form (NFC),
    with single plain spaces and without what nobody sees.

    Joiners stay where a script or an emoji needs them. Normalising twice changes nothing more.

    Args:
        line: without its end.
        note: is told each kind of change that was made to it, once.
    """
    if not (line.isascii() and line.isprintable()):
        odd = _ODD.search(line)
        for each in BEFORE_COMPOSING if odd else ():
            line = _replaced(line, each, note)
        line = _composed(line, note)
        for each in AFTER_COMPOSING if odd else ():
            line = _replaced(line, each, note)
        # Letters may have met where a joiner was taken out, and compose now.
        line = unicodedata.normalize("NFC", line) if odd else line
    squeezed = re.sub(" +", " ", line).strip(" ") if "  " in line else line.strip(" ")
    if note and squeezed != line:
        note("outer and repeated spaces")
    return squeezed


def _composed(line: str, note: Callable[[str], None] | None) -> str:
    composed = unicodedata.normalize("NFC", line)
    if note and composed != line:
        note("decomposed letters composed")
    return composed


def _replaced(line: str, what: Replacement, note: Callable[[str], None] | None) -> str:
    changed, count = _COMPILED[what].subn(what.by, line)
    if note and count:
        note(what.kind)
    return changed


def is_blank(line: str) -> bool:
    """Whether nothing of it can be seen: ``normalise(line) == ""``, but fast."""
    return not _SEEN.search(line)


def spaced(text: str) -> str:
    """A text with spaces around each letter of scripts that are written without;
    marks stay with their letters.
    """
    return text if text.isascii() else _SPACELESS_LETTER.sub(r" \g<0> ", text)


def num_words(text: str) -> int:
    """Words between spaces; where a script writes no spaces each letter is one, its marks apart.

    >>> num_words("a cat sat"), num_words("猫が座った"), num_words("GPU で")
    (3, 5, 2)
    """
    return len(spaced(text).split())


@dataclass(frozen=True)
class BadByte:
    """Why some bytes are no text.

    Attributes:
        offset: of the first bad byte, from 0.
        value: of that byte.
    """

    offset: int
    value: int

    def __str__(self) -> str:
        what = "UTF-16 or binary data?" if self.value == 0 else "another encoding?"
        return (
            f"byte at offset {self.offset} ({self.value:#04x}) must be UTF-8 text ({what}); "
            "convert it (iconv -t UTF-8)"
        )


def bad_byte(data: bytes) -> BadByte | None:
    """The first byte that is NUL, as in UTF-16, or not UTF-8."""
    zero = data.find(0)
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        if zero < 0 or error.start < zero:
            return BadByte(error.start, data[error.start])
    return BadByte(zero, 0) if zero >= 0 else None


def bad_byte_of(file: BinaryIO) -> BadByte | None:
    """`bad_byte` of a file, a block at a time."""
    before, rest = 0, b""
    while block := file.read(2**20):
        data = rest + block
        if zeros_or_wrong := bad_byte(data[: _whole(data)]):
            return BadByte(before + zeros_or_wrong.offset, zeros_or_wrong.value)
        rest = data[_whole(data) :]
        before += _whole(data)
    found = bad_byte(rest)
    return found and BadByte(before + found.offset, found.value)


def _whole(data: bytes) -> int:
    """Where the last character that is not whole begins, if one is cut off."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="ignore")
    decoder.decode(data[-4:])
    return len(data) - len(decoder.getstate()[0])


def lines_of(data: bytes) -> list[str]:
    """The lines of a file in UTF-8, split at newlines alone,
    without a byte order mark before them.
    """
    return data.decode("utf-8").removeprefix("\ufeff").removesuffix("\n").split("\n")


@dataclass
class Tally:
    """How often each kind of thing befell a line, and the first of each kind."""

    _found: dict[str, tuple[int, str]] = field(default_factory=dict)

    def add(self, kind: str, where: str, line: str) -> None:
        """Count one line.

        Args:
            kind: what befell it.
            where: ``file:number``.
            line: as it was.
        """
        count, example = self._found.get(kind, (0, f"{where}: {line[:60]!r}"))
        self._found[kind] = count + 1, example

    def noting(self, where: str, line: str) -> Callable[[str], None]:
        """What `normalise` tells its changes of one line to."""
        return lambda kind: self.add(kind, where, line)

    def total(self) -> int:
        """The number of lines counted, of all kinds together."""
        return sum(count for count, _ in self._found.values())

    def __str__(self) -> str:
        """``9 × pair longer than 60 words, first en.txt and fr.txt:17: 'A …'``, of all kinds."""
        return ", ".join(
            f"{count:,} × {kind}, first {example}"
            for kind, (count, example) in sorted(self._found.items())
        )

    def report(self) -> dict[str, dict[str, int | str]]:
        """Kind → lines, example; by kind's name."""
        return {
            kind: {"lines": count, "example": example}
            for kind, (count, example) in sorted(self._found.items())
        }
