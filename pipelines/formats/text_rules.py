"""How text is folded and split into words before WordPiece: the same objects for training,
use and evaluation.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pipelines.formats.text import AFTER_COMPOSING, BEFORE_COMPOSING

if TYPE_CHECKING:
    from tokenizers import normalizers, pre_tokenizers


def folding(*, lowercase: bool, strip_accents: bool) -> "normalizers.Normalizer":
    """BERT's lower-casing and stripping of accents (decomposed, combining marks dropped),
    composed again after it.
    """
    from tokenizers import normalizers

    bert = normalizers.BertNormalizer(
        clean_text=False,
        handle_chinese_chars=False,
        strip_accents=strip_accents,
        lowercase=lowercase,
    )
    return normalizers.Sequence([bert, normalizers.NFC()] if strip_accents else [bert])


def folded(lines: Iterable[str], *, lowercase: bool, strip_accents: bool) -> list[str]:
    """Lines as a tokenizer with these settings sees their letters."""
    if not (lowercase or strip_accents):
        return list(lines)
    normalizer = folding(lowercase=lowercase, strip_accents=strip_accents)
    # A word of nothing but marks leaves two spaces, which become one.
    return [" ".join(normalizer.normalize_str(line).split()) for line in lines]


def normalizer(*, lowercase: bool, strip_accents: bool) -> "normalizers.Normalizer":
    """What ``tokenizer.json`` does to a text: `normalise`, the folding,
    spaces around Han characters.
    """
    from tokenizers import Regex, normalizers

    cleaning = [
        *(normalizers.Replace(Regex(each.pattern), each.by) for each in BEFORE_COMPOSING),
        normalizers.NFC(),
        *(normalizers.Replace(Regex(each.pattern), each.by) for each in AFTER_COMPOSING),
        normalizers.NFC(),
    ]
    han = normalizers.BertNormalizer(
        clean_text=False, handle_chinese_chars=True, strip_accents=False, lowercase=False
    )
    return normalizers.Sequence(
        [*cleaning, folding(lowercase=lowercase, strip_accents=strip_accents), han]
    )


def pre_tokenizer() -> "pre_tokenizers.PreTokenizer":
    """BERT's: words end at spaces, every punctuation mark is a word."""
    from tokenizers import pre_tokenizers

    return pre_tokenizers.BertPreTokenizer()
