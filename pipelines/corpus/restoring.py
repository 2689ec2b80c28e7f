"""A task that any text has in it: putting back case and punctuation."""

import unicodedata


def bare(sentence: str) -> str:
    """A sentence in lower case, its punctuation taken out.

    Signs inside a word stay out too, and what they parted is parted no more; where a sign stands
    between spaces one space is left.

    >>> bare("Dr. O'Neil's cat — “Tom” — sat."), bare("猫が、座った。")
    ('dr oneils cat tom sat', '猫が座った')
    """
    kept = "".join(char for char in sentence.lower() if unicodedata.category(char)[0] not in "PS")
    return " ".join(kept.split())
