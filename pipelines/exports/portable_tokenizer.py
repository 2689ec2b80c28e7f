"""Our tokenizer for those who do not have this project: ``tokenizer.json`` that decodes as we do.

`pipelines.formats.tokenizer.spacing` guesses where spaces stand. Here the same rules are written as
replacements of regular expressions, which `tokenizers` and `transformers` apply. Two things they
cannot say: quotation marks inside others, and that a closing mark was opened before.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.formats.tokenizer.spacing import HAN, SPACING_TOKENS, SPARE_TOKENS, WIDE
from pipelines.formats.tokenizer.tokenizer import CONFIG_FILE, TOKENIZER_FILE, SubwordTokenizer
from pipelines.frame.files import write_json

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_KEPT, _GONE = "\ue000", "\ue001"  # a space as a token says, and none
_SEPARATOR = f"[ {_KEPT}{_GONE}]"
_WORD, _BETWEEN, _NUMBER = r"[\p{L}\p{N}\p{M}]", r"['’/\-‐‑\\_・·״׳־]", r"[.,:٫٬]"


def _class(ranges: Sequence[tuple[int, int]]) -> str:
    return "[" + "".join(f"\\x{{{first:x}}}-\\x{{{last:x}}}" for first, last in ranges) + "]"


def _rules(space: str, join: str) -> Iterator[tuple[str, str]]:
    """Pattern and what comes instead, in their order, for words with a space between each two."""
    space, join = (token.replace("[", r"\[").replace("]", r"\]") for token in (space, join))
    mark = rf"(?:{space}|{join})"
    # Of several marks the last one counts, none at an end of the text, none within a word.
    yield rf"^(?:{mark}(?: |$))+|(?: {mark})+(?= {mark} |$)| {mark}(?=[^ ])", ""
    yield rf" {join} ", _GONE
    yield rf" {space} ", _KEPT
    yield rf" (?={_class(WIDE)})|(?<={_class(WIDE)}) ", ""
    for outer, mark in ((_WORD, _BETWEEN), (r"\p{N}", _NUMBER)):
        yield rf"(?<={outer}) (?={mark}{_SEPARATOR}{outer})", ""
        yield rf"(?<={outer}{_SEPARATOR}{mark}|{outer}{mark}) (?={outer})", ""
    # A straight quotation mark opens where an odd number of them follow, and closes elsewhere.
    even = r'(?:[^"]*"[^"]*")*[^"]*$'
    yield rf'(?<=") (?=[^"]*"{even})| (?="{even})', ""
    # “ opens “so”, and closes „so“.
    yield r"(?<=“) (?=[^“”„]*”)| (?=“(?![^“”„]*”))", ""
    yield r"(?<=[\p{Ps}„‚¿¡$#@[\p{Pi}&&[^“]]]) ", ""
    closing = r"[\p{Pe}\p{Pf}]|(?![&*†‡§¶•'\"\/\\·״׳@#¿¡])\p{Po}"
    yield rf" (?=(?:{closing})(?!{_WORD}))", ""
    yield rf" (?={_class(HAN)})|(?<={_class(HAN)}) ", ""
    yield _GONE, ""
    yield _KEPT, " "


def portable_tokenizer(folder: Path) -> "Tokenizer":
    """The tokenizer of a folder, decoding by rules that stand in its file."""
    from tokenizers import Regex, Tokenizer, decoders

    tokenizer = Tokenizer.from_file(str(folder / TOKENIZER_FILE))
    spare = all(tokenizer.token_to_id(token) is not None for token in SPARE_TOKENS)
    parts: list[Any] = [decoders.WordPiece(prefix="##", cleanup=False), decoders.Fuse()]
    for pattern, instead in _rules(*(SPARE_TOKENS if spare else SPACING_TOKENS)):
        parts.append(decoders.Replace(Regex(pattern), instead))
    tokenizer.decoder = decoders.Sequence(parts)
    return tokenizer


def save_portable(source: Path, folder: Path, longest: int | None = None) -> None:
    """``tokenizer.json``, ``tokenizer_config.json`` for `transformers`, ``vocab.txt``.

    Text stays text there too: ``[SEP]`` in a sentence is no end.

    Args:
        source: folder of the tokenizer.
        folder: where to.
        longest: tokens a model can take, [CLS] and [SEP] among them; the rest is cut. None: any.
    """
    tokenizer = portable_tokenizer(source)
    if longest is not None:
        tokenizer.enable_truncation(longest)
    tokenizer.save(str(folder / TOKENIZER_FILE))
    config = json.loads((source / CONFIG_FILE).read_text(encoding="utf-8"))
    more: dict[str, int] = {"split_special_tokens": True, "clean_up_tokenization_spaces": False}
    if longest is not None:
        more["model_max_length"] = longest
    write_json(folder / CONFIG_FILE, config | more)
    (folder / "vocab.txt").write_bytes((source / "vocab.txt").read_bytes())


def share_alike(folder: Path, texts: Sequence[str]) -> float:
    """Share of texts that come back from both decoders alike."""
    ours, theirs = SubwordTokenizer.load(folder), portable_tokenizer(folder)
    rows = ours.encode_targets(texts)
    alike = sum(ours.decode(row) == theirs.decode(row) for row in rows)
    return alike / max(1, len(rows))
