"""Splitting text into sentences, by `sentencex` (about 300 languages, without models).

It is light, upheld, and knows abbreviations of each language; pysbd is stale and wtpsplit needs a
model that has to be fetched. What it does not do is done here: a list's number belongs to its item.
"""

import re
from collections.abc import Iterable

from pipelines.formats.text import spaced

_NUMBER = re.compile(r"\(?(\d{1,3}|[A-Za-z]|[ivxIVX]{1,5})[.)]")  # `1.`, `(a)`, `iv.`


def split_sentences(language: str, text: str) -> list[str]:
    """The sentences of a text that has no line ends.

    >>> split_sentences("en", "Dr. Smith came. He said: 1. Rest. 2. Eat.")
    ['Dr. Smith came.', 'He said: 1.', 'Rest.', '2. Eat.']

    Args:
        language: its code; of one `sentencex` does not know, and of any other name, the rules of
            languages near it or of all languages are taken.
        text: normalised.
    """
    from sentencex import segment

    sentences: list[str] = []
    number = ""
    for part in segment(language, text):
        sentence = f"{number}{part.strip()}"
        if _NUMBER.fullmatch(sentence):
            number = f"{sentence} "
        elif sentence:
            sentences.append(sentence)
            number = ""
    if number:
        sentences.append(number.strip())
    return sentences


def joined(lines: Iterable[str]) -> str:
    """Lines of one paragraph as one text; no space comes between letters that are written
    without.

    >>> joined(["春眠不覺", "曉"]), joined(["in the", "morning"])
    ('春眠不覺曉', 'in the morning')
    """
    text = ""
    for line in lines:
        between = " " if text and not (_spaceless(text[-1]) and _spaceless(line[0])) else ""
        text += between + line
    return text


def _spaceless(char: str) -> bool:
    return spaced(char) != char or "\u3000" <= char <= "\u303f" or "\uff00" <= char <= "\uff60"
