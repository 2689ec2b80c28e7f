"""The one form of a text: what changes, what stays, and that tokenizer.json says the same."""

import io
import random
import unicodedata

import pytest
from tokenizers import normalizers

from pipelines.formats.text import (
    Tally,
    bad_byte,
    bad_byte_of,
    is_blank,
    normalise,
    num_words,
    spaced,
)
from pipelines.formats.text_rules import normalizer

ZWNJ, ZWJ, ZWSP, BOM, SHY, RLM = "\u200c", "\u200d", "\u200b", "\ufeff", "\u00ad", "\u200f"


@pytest.mark.parametrize(
    ("given", "expected", "kinds"),
    [
        ("plain text", "plain text", []),
        (f"{BOM}first line", "first line", ["byte order marks"]),
        ("a\u00a0b\u202fc\u3000d\te\u2028f", "a b c d e f", ["other spaces to plain ones"]),
        (
            "bell\x07 and\x9d",
            "bell and",
            ["control characters to spaces", "outer and repeated spaces"],
        ),
        (f"co{SHY}operate", "cooperate", ["soft hyphens"]),
        (f"a{ZWSP}b\u2060c", "abc", ["zero-width spaces"]),
        (f"שלום{RLM}!", "שלום!", ["direction marks"]),
        ("x\u2061y\U000e0041z", "xyz", ["other invisible characters"]),
        ("Cafe\u0301", "Café", ["decomposed letters composed"]),
        ("\u1112\u1161\u11ab", "한", ["decomposed letters composed"]),
        (f"می{ZWNJ}روم", f"می{ZWNJ}روم", []),  # Persian spelling needs it
        (f"क्{ZWJ}ष", f"क्{ZWJ}ष", []),
        (f"👨{ZWJ}👩{ZWJ}👧 ❤\ufe0f", f"👨{ZWJ}👩{ZWJ}👧 ❤\ufe0f", []),
        (
            f"wo{ZWNJ}rd {ZWJ} می{ZWNJ}",
            "word می",
            ["joiners with nothing to join", "outer and repeated spaces"],
        ),
        ("\u1820\u180e\u1820", "\u1820\u180e\u1820", []),  # Mongolian
        ("\u06dd\u0661", "\u06dd\u0661", []),  # a visible sign, though of category Cf
        (
            "\ue000 \ufffd \U000f0000",
            "\ue000 \ufffd \U000f0000",
            [],
        ),  # private use, replacement: kept as they are
        (ZWSP, "", ["zero-width spaces"]),
        ("\u3164 \ufe0f\u2800", "", ["lines without anything to see"]),
    ],
)
def test_normalise_changes_what_it_names_and_nothing_else(given, expected, kinds):
    told: list[str] = []
    assert normalise(given, told.append) == expected
    assert told == kinds
    assert normalise(expected) == expected
    assert is_blank(given) == (not expected)


def _odd_lines(count: int) -> list[str]:
    """Random lines of all characters that Unicode 3.2 has: later ones differ between versions of
    its tables.
    """
    rng = random.Random(1)
    old = [
        chr(c)
        for c in range(0x110000)
        if unicodedata.ucd_3_2_0.category(chr(c)) not in ("Cn", "Cs")
    ]
    odd = [
        char for char in old if unicodedata.category(char) in ("Cf", "Cc", "Zs", "Zl", "Zp", "Mn")
    ]
    pools = (old, odd, f"ab 中の{ZWNJ}{ZWJ}می\u093f\u0915 ")
    lines = (
        "".join(rng.choice(rng.choice(pools)) for _ in range(rng.randrange(13)))
        for _ in range(count)
    )
    return [line.replace("\n", " ") for line in lines]


def test_normalise_twice_is_once_and_blank_lines_are_those_it_empties():
    for line in _odd_lines(20_000):
        once = normalise(line)
        assert normalise(once) == once, ascii(line)
        assert is_blank(line) == (once == ""), ascii(line)


def test_tokenizer_json_normalises_alike():
    """Its spaces are not squeezed, which splitting into words does; spaces stand around Han
    characters.
    """
    theirs = normalizer(lowercase=False, strip_accents=False)
    for line in _odd_lines(20_000):
        assert (
            theirs.normalize_str(line).split() == theirs.normalize_str(normalise(line)).split()
        ), ascii(line)
    for line in ("Ein Mann läuft.", f"می{ZWNJ}روم", f"{BOM}a{SHY}b"):
        assert theirs.normalize_str(line) == normalise(line)
    assert isinstance(theirs, normalizers.Normalizer)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("a cat sat", 3),
        ("", 0),
        ("我喜欢喝茶。", 6),
        ("猫が座った", 5),
        ("GPU 3个", 3),
        ("ก" * 125, 125),
        ("กำ ที่", 3),  # marks are no letters of their own
        ("यह एक किताब है।", 4),
        ("오늘은 날씨가", 2),
        ("ថ្ងៃ", 2),
    ],
)
def test_num_words_counts_letters_where_no_spaces_are_written(text, count):
    assert num_words(text) == count
    assert spaced(text).replace(" ", "") == text.replace(" ", "")


@pytest.mark.parametrize(
    ("data", "offset", "value"),
    [
        ("Hi\n".encode("utf-16-le"), 1, 0),
        ("Hi\n".encode("utf-16-be"), 0, 0),
        ("Hi\n".encode("utf-16"), 0, 0xFF),
        ("Hi".encode("utf-32-le"), 1, 0),
        ("Größe".encode("latin-1"), 2, 0xF6),
        (b"caf\xe9", 3, 0xE9),
        (b"ab\xe4\xb8", 2, 0xE4),
        (b"\xed\xa0\x80", 0, 0xED),
        ("日本".encode("shift-jis"), 0, 0x93),
    ],
)
def test_bytes_that_are_no_text_are_found_with_their_place(data, offset, value):
    for found in (bad_byte(data), bad_byte_of(io.BytesIO(data))):
        assert (found.offset, found.value) == (offset, value)
    assert f"byte at offset {offset} ({value:#04x}) must be UTF-8 text" in str(bad_byte(data))


def test_bad_bytes_are_found_across_blocks():
    good = "Größe 中 👍 ".encode() * 60_000  # more than a block; blocks end inside of characters
    assert bad_byte_of(io.BytesIO(good)) is None
    assert bad_byte_of(io.BytesIO(good + b"\xff")).offset == len(good)
    assert bad_byte_of(io.BytesIO(good + b"\xe4\xb8")).offset == len(good)
    assert bad_byte_of(io.BytesIO(good[:8] + b"\0" + good)).offset == 8


def test_tally_keeps_the_first_of_each_kind():
    tally = Tally()
    for number, line in enumerate([f"a{SHY}", "b", f"c{SHY} "], start=1):
        normalise(line, tally.noting(f"en.txt:{number}", line))
    assert tally.report() == {
        "outer and repeated spaces": {"lines": 1, "example": "en.txt:3: 'c\\xad '"},
        "soft hyphens": {"lines": 2, "example": "en.txt:1: 'a\\xad'"},
    }
    assert tally.total() == 3
