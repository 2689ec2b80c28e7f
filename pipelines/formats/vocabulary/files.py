"""``vocab.txt``: one token a line, its number the id."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipelines.frame.errors import DataError

VOCABULARY_FILE = "vocab.txt"


def read_vocabulary(folder: Path) -> list[str]:
    """Tokens in the order of their ids.

    Raises:
        DataError: the file is missing or unreadable.
    """
    path = folder / VOCABULARY_FILE
    try:
        return path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path}: cannot be read ({error}); put the tokenizer's vocab.txt there"
        ) from None


def continuations(folder: Path) -> npt.NDArray[np.bool_]:
    """[V], True for pieces that go on with a word (``##ing``)."""
    return np.array([token.startswith("##") for token in read_vocabulary(folder)])
