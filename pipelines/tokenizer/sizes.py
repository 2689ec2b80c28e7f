"""How large a vocabulary should be: ``python -m pipelines.tokenizer.sizes [SIZE …]``.

Trains vocabularies of several sizes on the training text of data/corpus, in both kinds, and
compares how many bits per character of the validation text a model of five-grams needs with each.
Nothing is written.
"""

import argparse
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import get_args

from pipelines.formats.text import num_words
from pipelines.formats.tokenizer.tokenizer import SubwordTokenizer
from pipelines.frame.errors import DataError, ParamsError, broken_rule, exit_code
from pipelines.frame.params_reader import read_params, validate
from pipelines.tokenizer.ngrams import NgramModel
from pipelines.tokenizer.params import CORPUS, TokenizerParams
from pipelines.tokenizer.train import lines_of
from pipelines.tokenizer.vocabulary import Vocabulary, assembled, train_vocabulary

SIZES = (1000, 2000, 4000, 8000, 16_000, 32_000)
KINDS: tuple[str, ...] = get_args(TokenizerParams.model_fields["kind"].annotation)
_WHERE = "tokenizer.sizes"
_COUNTED = 200_000  # training lines of a language that the n-grams are counted on


@dataclass(frozen=True)
class Texts:
    """The text of one language.

    Attributes:
        train: what vocabularies and n-grams are learnt from.
        held_out: what they are measured on: no character that ``train`` lacks.
    """

    train: list[str]
    held_out: list[str]


@dataclass(frozen=True)
class Measured:
    """One vocabulary.

    Attributes:
        kind: of it, or ``characters``, where both are the same.
        size: that came out; a small text has no more pieces to give.
        tokens_per_word: of the held-out text.
        bits: per character, by language.
    """

    kind: str
    size: int
    tokens_per_word: float
    bits: dict[str, float]

    @property
    def mean_bits(self) -> float:
        """Over the languages, each counted alike."""
        return sum(self.bits.values()) / len(self.bits)


def texts(languages: Iterable[str]) -> tuple[dict[str, Texts], int]:
    """Text of each language in data/corpus; number of held-out lines that are left out.

    What cannot be spelt costs nothing to write, and in one kind a word, in the other a letter. So
    lines with characters that the training text lacks are in no measurement.

    Raises:
        DataError: there is no corpus, or no held-out text that can be spelt.
    """
    if not CORPUS.is_dir():
        rule, remedy = "be made first", "run dvc repro corpus"
        raise DataError(broken_rule(_WHERE, "text", str(CORPUS), rule, remedy))
    train = {one: list(lines_of(CORPUS, "train", one)) for one in languages}
    known = {char for lines in train.values() for line in lines for char in line}
    found, num_left_out = {}, 0
    for language, lines in train.items():
        all_held_out = list(lines_of(CORPUS, "valid", language))
        held_out = [line for line in all_held_out if known.issuperset(line)]
        num_left_out += len(all_held_out) - len(held_out)
        if not held_out:
            rule = "have characters of the training text alone, in one line at least"
            where, remedy = f"{CORPUS}, validation text", "give more text, or of one kind"
            raise DataError(
                broken_rule(where, language, f"{len(all_held_out)} lines", rule, remedy)
            )
        found[language] = Texts(lines, held_out)
    return found, num_left_out


def compared(
    by_language: Mapping[str, Texts],
    params: TokenizerParams,
    sizes: Sequence[int] | None,
    kinds: Sequence[str] = KINDS,
) -> Iterator[Measured]:
    """Characters alone, then each size in each kind, up to the first that the text cannot fill.

    Args:
        by_language: the text; the vocabulary is trained on that of all languages.
        params: what else the vocabulary goes by.
        sizes: to try; None: those of `SIZES` that are larger than characters alone.
        kinds: to try.

    Raises:
        DataError: a size is too small for the characters of the text.
    """
    lines = [line for one in by_language.values() for line in one.train]
    alone = train_vocabulary(lines, params.model_copy(update={"vocab_size": "characters"}))
    yield replace(_measured(by_language, alone, params), kind="characters")
    smallest = len(alone.ids)
    for size in sorted(sizes or [one for one in SIZES if one > smallest]):
        vocabulary = train_vocabulary(lines, params.model_copy(update={"vocab_size": size}))
        for kind in kinds:
            yield _measured(by_language, vocabulary, params.model_copy(update={"kind": kind}))
        if len(vocabulary.ids) < size:
            break


def _measured(
    by_language: Mapping[str, Texts], vocabulary: Vocabulary, params: TokenizerParams
) -> Measured:
    tokenizer = SubwordTokenizer(assembled(vocabulary, params))
    bits, num_tokens, words = {}, 0, 0
    for language, one in by_language.items():
        model = NgramModel(tokenizer.encode(one.train[:_COUNTED]), tokenizer.vocab_size)
        rows = tokenizer.encode(one.held_out)
        # The end of a line is a character too.
        bits[language] = model.bits(rows) / sum(len(line) + 1 for line in one.held_out)
        num_tokens += sum(map(len, rows))
        words += sum(map(num_words, one.held_out))
    return Measured(params.kind, tokenizer.vocab_size, num_tokens / max(1, words), bits)


def table(languages: Sequence[str], rows: Iterable[Measured]) -> Iterator[str]:
    """Lines for people, each as soon as it is measured, and what they say."""
    yield f"{'kind':<10}{'pieces':>8}{'per word':>10}{'bits per character':>20}  " + "".join(
        f"{one:>8}" for one in languages
    )
    seen: list[Measured] = []
    for row in rows:
        seen.append(row)
        yield (
            f"{row.kind:<10}{row.size:>8,}{row.tokens_per_word:>10.2f}{row.mean_bits:>20.3f}  "
            + ("".join(f"{row.bits[one]:>8.3f}" for one in languages))
        )
    best = min(seen, key=lambda one: one.mean_bits)
    smallest = min(
        (one for one in seen if one.mean_bits < 1.01 * best.mean_bits), key=lambda one: one.size
    )
    yield f"fewest bits: {best.kind} of {best.size:,}"
    if smallest != best:
        yield f"within 1 % of it, and smaller: {smallest.kind} of {smallest.size:,}"


def _sizes(given: Sequence[str]) -> list[int]:
    try:
        return [_size(text) for text in given]
    except ValueError as error:
        rule = "be a number of pieces from 64 to 1048576"
        raise ParamsError(
            broken_rule(_WHERE, "SIZE", str(error), rule, "give sizes such as 4000 8000")
        ) from None


def _size(text: str) -> int:
    if not (text.isdecimal() and 64 <= int(text) <= 2**20):
        raise ValueError(text)
    return int(text)


def main(given: Sequence[str] | None = None) -> int:
    """Compare vocabularies."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.tokenizer.sizes", description=__doc__.split("\n\n", 1)[1]
    )
    parser.add_argument(
        "sizes", nargs="*", metavar="SIZE", help=" ".join(map(str, SIZES)) + " unless given"
    )
    parser.add_argument("--kind", choices=KINDS, help="this one alone")
    arguments = parser.parse_args(given)
    params_file = read_params()
    languages = [str(params_file.get(f"corpus.{key}_language")) for key in ("source", "target")]
    params = validate(params_file, "tokenizer", TokenizerParams)
    by_language, num_left_out = texts(languages)
    if num_left_out:
        print(f"{num_left_out:,} held-out lines with characters of no training line are left out")
    kinds = (arguments.kind,) if arguments.kind else KINDS
    for line in table(
        languages, compared(by_language, params, _sizes(arguments.sizes) or None, kinds)
    ):
        print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
