"""A trained WordPiece tokenizer: text ↔ ids."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.formats.tokenizer.spacing import SPACING_TOKENS, SPARE_TOKENS, guessed_spaces
from pipelines.formats.vocabulary.special_tokens import NUM_SPECIAL_TOKENS, SPECIAL_TOKENS, UNK
from pipelines.frame.errors import DataError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

TOKENIZER_FILE, CONFIG_FILE = "tokenizer.json", "tokenizer_config.json"
WORTH_SAYING = 0.01  # share of a text that may be lost without a warning
_UNKNOWN = "x"  # what the spacing rules see of a word nobody can read any more


@dataclass(frozen=True)
class Unknown:
    """A word of a text that the vocabulary cannot spell.

    Attributes:
        start, end: its characters in the text.
    """

    start: int
    end: int


class SubwordTokenizer:
    """Encodes normalised sentences without special tokens, decodes ids into normally spaced text.

    Text stays text: ``[SEP]`` in a sentence is a bracket, three letters and a bracket, never the
    end.

    Attributes:
        folds: what it does to text, ``lowercase`` and ``strip_accents``, as its
            ``tokenizer_config.json`` says.
    """

    def __init__(self, tokenizer: "Tokenizer", folds: Mapping[str, bool] | None = None) -> None:
        self._tokenizer = tokenizer
        self.folds = dict(folds or {})
        tokenizer.encode_special_tokens = True  # as text
        self._spacing: dict[bool, int] = {}  # whether a space stands there → the token that says so
        for space, join in (
            map(tokenizer.token_to_id, pair) for pair in (SPARE_TOKENS, SPACING_TOKENS)
        ):
            if space is not None and join is not None:
                self._spacing = {True: space, False: join}
        self._spaces = {index: space for space, index in self._spacing.items()}

    @classmethod
    def load(cls, folder: Path) -> "SubwordTokenizer":
        """Read ``tokenizer.json``.

        Raises:
            DataError: the file is missing or damaged, or its special tokens are not BERT's first
                five.
        """
        from tokenizers import Tokenizer

        path = folder / TOKENIZER_FILE
        try:
            tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # tokenizers raises bare Exception
            raise DataError(
                f"{path}: cannot be read ({error}); run the tokenizer stage (dvc repro tokenizer)"
            ) from None
        for index, token in enumerate(SPECIAL_TOKENS):
            if tokenizer.token_to_id(token) != index:
                raise DataError(
                    f"{path}: {token} must have id {index}; train the tokenizer with this project"
                )
        return cls(tokenizer, _folds(folder / CONFIG_FILE))

    @property
    def vocab_size(self) -> int:
        """The number of token ids, special ones among them."""
        return self._tokenizer.get_vocab_size()

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text as BERT reads it: sources, documents,
        examples. Spaces beside marks are forgotten.
        """
        return [
            item.ids for item in self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        ]

    def encode_targets(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of what a model is to write:
        with spacing tokens where `decode` would guess spaces wrongly.

        ``decode`` gives such a text back as it was, but for case and accents that the tokenizer
        folds and for words it does not know. A vocabulary without spacing tokens gives the ids of
        `encode`.
        """
        if not self._spacing:
            return self.encode(texts)
        found = self._tokenizer.encode_batch(texts, add_special_tokens=False)
        return [self._with_spacing(text, item) for text, item in zip(texts, found, strict=True)]

    def _with_spacing(self, text: str, encoding: Any) -> list[int]:
        ids: list[int] = []
        for index, wrong in zip(encoding.ids, self._wrong_guesses(text, encoding), strict=True):
            ids += [index] if wrong is None else [self._spacing[wrong], index]
        return ids

    def _wrong_guesses(self, text: str, encoding: Any) -> list[bool | None]:
        """Of each token: None, or whether a space stands before it in the text
        where `decode` would guess otherwise.
        """
        pieces = [self.token(index) for index in encoding.ids]
        begins = [
            number
            for number, piece in enumerate(pieces)
            if number == 0 or not piece.startswith("##")
        ]
        guesses = _guesses(_joined(pieces))
        wrong: list[bool | None] = [None] * len(pieces)
        for begin, guess in zip(begins[1:], guesses, strict=True):
            between = text[encoding.offsets[begin - 1][1] : encoding.offsets[begin][0]]
            if (" " in between) != guess:
                wrong[begin] = not guess
        return wrong

    def needs_spacing(self, texts: Sequence[str]) -> bool:
        """Whether `decode` would guess a space wrongly in any of these texts."""
        found = self._tokenizer.encode_batch(texts, add_special_tokens=False)
        return any(
            wrong is not None
            for text, item in zip(texts, found, strict=True)
            for wrong in self._wrong_guesses(text, item)
        )

    def unknown(self, texts: Sequence[str]) -> list[list[Unknown]]:
        """The words of each text that become [UNK]."""
        found = self._tokenizer.encode_batch(texts, add_special_tokens=False)
        return [
            [
                Unknown(*offsets)
                for index, offsets in zip(item.ids, item.offsets, strict=True)
                if index == UNK
            ]
            for item in found
        ]

    def token(self, index: int) -> str:
        """A token as it stands in the vocabulary."""
        return self._tokenizer.id_to_token(int(index)) or SPECIAL_TOKENS[UNK]

    def decode(self, ids: Iterable[int]) -> str:
        """Text from ids: pieces joined, spaces guessed or as spacing tokens say,
        special tokens left out.
        """
        pieces: list[str] = []
        marked: dict[int, bool] = {}  # word → whether a space stands before it
        num_words = 0
        for index in map(int, ids):
            if index in self._spaces:
                marked[num_words] = self._spaces[index]
            elif index == UNK or index >= NUM_SPECIAL_TOKENS:
                piece = self.token(index)
                num_words += not (pieces and piece.startswith("##"))
                pieces.append(piece)
        words = _joined(pieces)
        text = ""
        for number, (word, guess) in enumerate(zip(words, [False, *_guesses(words)], strict=False)):
            text += " " * (marked.get(number, guess) and number > 0) + word
        return text


def _folds(path: Path) -> dict[str, bool]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        return {
            "lowercase": bool(config["do_lower_case"]),
            "strip_accents": bool(config["strip_accents"]),
        }
    except (OSError, ValueError, KeyError) as error:
        raise DataError(
            f"{path}: cannot be read ({error}); run the tokenizer stage (dvc repro tokenizer)"
        ) from None


def _joined(pieces: Iterable[str]) -> list[str]:
    """The words that pieces make up, ``##`` joined to what stands before it."""
    words: list[str] = []
    for piece in pieces:
        if piece.startswith("##") and words:
            words[-1] += piece.removeprefix("##")
        else:
            words.append(piece)
    return words


def _guesses(words: Sequence[str]) -> list[bool]:
    """See `guessed_spaces`; an unknown word counts as one of letters."""
    return guessed_spaces([_UNKNOWN if word == SPECIAL_TOKENS[UNK] else word for word in words])


def unknown_share(rows: Sequence[Sequence[int]]) -> float:
    """[UNK]'s share of some token lists."""
    return round(sum(row.count(UNK) for row in rows) / max(1, sum(map(len, rows))), 6)
