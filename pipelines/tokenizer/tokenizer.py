"""A trained WordPiece tokenizer: text ↔ ids."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from tokenizers import Tokenizer

from pipelines.errors import DataError
from pipelines.tokenizer.special_tokens import NUM_SPECIAL_TOKENS, SPECIAL_TOKENS, UNK

TOKENIZER_FILE = "tokenizer.json"

# BERT's pre-tokenizer splits every punctuation mark off and forgets on which side it stood.
_REJOIN = (
    (re.compile(r" ([.,;:!?%)\]}…])"), r"\1"),
    (re.compile(r"([(\[{]) "), r"\1"),
    (re.compile(r"(?<=\w) ?(['’/-]) (?=\w)"), r"\1"),
    (re.compile(r"(?<=\d)([.,:]) (?=\d)"), r"\1"),
    (re.compile(r'" ([^"]*?) "'), r'"\1"'),
)


class WordPieceTokenizer:
    """Encodes sentences without special tokens, decodes ids into normally spaced text."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

    @classmethod
    def load(cls, folder: Path) -> "WordPieceTokenizer":
        """Read ``tokenizer.json``.

        Raises:
            DataError: the file is missing or damaged, or its special tokens are not BERT's first five.
        """
        path = folder / TOKENIZER_FILE
        try:
            tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # tokenizers raises bare Exception
            raise DataError(
                f"{path}: cannot be read ({error}); run the tokenizer stage (dvc repro tokenizer)"
            ) from None
        for index, token in enumerate(SPECIAL_TOKENS):
            if tokenizer.token_to_id(token) != index:
                raise DataError(f"{path}: {token} must have id {index}; train the tokenizer with this project")
        return cls(tokenizer)

    @property
    def vocab_size(self) -> int:
        """Number of ids."""
        return self._tokenizer.get_vocab_size()

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text, special tokens apart."""
        return [item.ids for item in self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)]

    def token(self, index: int) -> str:
        """A token as it stands in the vocabulary."""
        return self._tokenizer.id_to_token(index) or SPECIAL_TOKENS[UNK]

    def decode(self, ids: Iterable[int]) -> str:
        """Text from ids: pieces joined, punctuation put back, special tokens left out."""
        words: list[str] = []
        for index in ids:
            if index < NUM_SPECIAL_TOKENS and index != UNK:
                continue
            piece = self._tokenizer.id_to_token(int(index)) or SPECIAL_TOKENS[UNK]
            if piece.startswith("##") and words:
                words[-1] += piece[2:]
            else:
                words.append(piece)
        text = " ".join(words)
        for pattern, replacement in _REJOIN:
            text = pattern.sub(replacement, text)
        return text
