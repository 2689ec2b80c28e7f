"""How text fares in a tokenizer, and what somebody should know about it."""

import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from pipelines.formats.text import num_words
from pipelines.formats.text_rules import folded
from pipelines.formats.tokenizer.tokenizer import WORTH_SAYING, SubwordTokenizer, Unknown
from pipelines.formats.vocabulary.special_tokens import UNK
from pipelines.tokenizer.params import TokenizerParams

_SAMPLE = 2000  # lines that are enough to see what would help
# Scripts whose marks are accents; in others they are vowels and letters.
_ACCENTED = ("LATIN", "GREEK")


def quality(
    tokenizer: SubwordTokenizer,
    params: TokenizerParams,
    lines: Sequence[str],
    targets: Sequence[str],
) -> dict[str, float]:
    """Tokens per word, what becomes [UNK], words that lose marks,
    and which targets come back letter for letter.
    """
    encoded = tokenizer.encode(lines)
    counts = Counter(index for ids in encoded for index in ids)
    unknown = tokenizer.unknown(lines) if counts[UNK] else []
    again = map(tokenizer.decode, tokenizer.encode_targets(targets))
    same = sum(one == other for one, other in zip(again, targets, strict=True))
    return {
        "vocab_size": tokenizer.vocab_size,
        "tokens_per_word": round(counts.total() / max(1, sum(map(num_words, lines))), 4),
        "unknown_share": round(counts[UNK] / max(1, counts.total()), 6),
        "unknown_words": sum(map(len, unknown)),
        "unknown_character_share": round(_share_of_characters(unknown, lines), 6),
        "marks_lost_share": round(_marks_lost(lines)[0], 6) if params.strip_accents else 0.0,
        "round_trip_share": round(same / max(1, len(targets)), 4),
    }


def warnings_of(
    measured: Mapping[str, float],
    tokenizer: SubwordTokenizer,
    params: TokenizerParams,
    lines: Sequence[str],
) -> Iterator[str]:
    """Warnings for what `quality` found, each with the key to change."""
    share = measured["unknown_character_share"]
    if share > WORTH_SAYING:
        found = zip(lines, tokenizer.unknown(lines), strict=True)
        word = next(line[one.start : one.end] for line, row in found for one in row)
        rule = (
            f"at most {100 * WORTH_SAYING:g} % of the training text's characters must be unknown "
            "to the vocabulary"
        )
        yield (
            f"{rule}, but {100 * share:.1f} % are ({word!r}, …); "
            f"{_remedy(tokenizer, params, lines[:_SAMPLE])}"
        )
    if params.strip_accents:
        share, word = _marks_lost(lines, other_scripts=True)
        if share > WORTH_SAYING:
            (bare,) = folded([word], lowercase=False, strip_accents=True)
            rule = "tokenizer.strip_accents (true) must be false where marks are vowels or letters"
            yield (
                f"{rule}: {100 * share:.1f} % of the words lose some ({word!r} becomes {bare!r}); "
                "set it to false"
            )


def _remedy(tokenizer: SubwordTokenizer, params: TokenizerParams, lines: Sequence[str]) -> str:
    """The smallest change of case and accents under which most of the unknown is known,
    or another vocabulary.
    """
    now = _share_of_characters(tokenizer.unknown(lines), lines)
    for lowercase, strip_accents in ((True, False), (False, True), (True, True)):
        lines_then = folded(lines, lowercase=lowercase, strip_accents=strip_accents)
        if _share_of_characters(tokenizer.unknown(lines_then), lines_then) < now / 2:
            keys = [
                name
                for name, on in (("lowercase", lowercase), ("strip_accents", strip_accents))
                if on
            ]
            listed = " and ".join(f"{name}: true" for name in keys if not getattr(params, name))
            if listed:
                return f"set {listed} in tokenizer and in evaluation, as the vocabulary was made"
    return (
        "train a vocabulary (tokenizer.vocabulary_from: data/corpus), or take one of these "
        "languages"
    )


def _share_of_characters(unknown: Sequence[Sequence[Unknown]], lines: Sequence[str]) -> float:
    lost = sum(one.end - one.start for row in unknown for one in row)
    return lost / max(1, sum(len(line) - line.count(" ") for line in lines))


def _marks_lost(lines: Sequence[str], *, other_scripts: bool = False) -> tuple[float, str]:
    """The share of words that lose combining marks, and one of them;
    marks that are no accents alone, if asked.
    """
    words = Counter(word for line in lines for word in line.split(" "))
    bare = folded(words, lowercase=False, strip_accents=True)
    lost = [word for word, without in zip(words, bare, strict=True) if word != without]
    if other_scripts:
        lost = [word for word in lost if not _only_accents(word)]
    return sum(words[word] for word in lost) / max(1, words.total()), lost[0] if lost else ""


def _only_accents(word: str) -> bool:
    """Whether all of its combining marks stand on letters of scripts where they are accents."""
    base = ""
    for char in unicodedata.normalize("NFD", word):
        if unicodedata.category(char) != "Mn":
            base = char
        elif not unicodedata.name(base or "x", "").startswith(_ACCENTED):
            return False
    return True
