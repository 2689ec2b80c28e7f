"""Stage ``tokenizer``: training text → a vocabulary, and how text fares in it."""

import sys
from collections.abc import Iterator
from pathlib import Path

from pipelines.formats.corpus.files import document_file, pair_file, read_lines
from pipelines.formats.tokenizer.tokenizer import SubwordTokenizer
from pipelines.formats.vocabulary.files import read_vocabulary
from pipelines.frame.params_reader import ParamsFile, validate
from pipelines.frame.stage import Metrics, Stage, StageRun, run_stage
from pipelines.tokenizer.params import CORPUS, TokenizerParams
from pipelines.tokenizer.quality import quality, warnings_of
from pipelines.tokenizer.vocabulary import save, take_over, train_vocabulary


def declare(params_file: ParamsFile) -> Stage:
    """Reads the training text of the corpus, and the vocabulary to take over if there is one."""
    vocabulary = Path(validate(params_file, "tokenizer", TokenizerParams).vocabulary_from)
    sections = {
        "corpus.source_language": str,
        "corpus.target_language": str,
        "tokenizer": TokenizerParams,
    }
    return Stage(
        "tokenizer",
        "pipelines.tokenizer.train",
        sections,
        tuple(dict.fromkeys((CORPUS, vocabulary))),
    )


def train(run: StageRun) -> Metrics:
    """Train, save, and measure how text survives the way there and back.

    Raises:
        DataError: the vocabulary is too small for the text's characters; one to take over lacks
            special tokens.
    """
    params = run.section("tokenizer", TokenizerParams)
    languages = (
        run.section("corpus.source_language", str),
        run.section("corpus.target_language", str),
    )
    lines = [line for language in languages for line in lines_of(CORPUS, "train", language)]
    targets = [line for line in read_lines(pair_file(CORPUS, "train", languages[1])) if line]
    given = Path(params.vocabulary_from)
    if params.is_trained:
        vocabulary = train_vocabulary(lines, params, targets)
    else:
        vocabulary = take_over(read_vocabulary(given), given, params, targets)
    save(vocabulary, params, run.work)
    tokenizer = SubwordTokenizer.load(run.work)
    measured = quality(tokenizer, params, lines, targets)
    for warning in warnings_of(measured, tokenizer, params, lines):
        run.warn(warning)
    run.say(
        f"{measured['vocab_size']:,} pieces, {measured['tokens_per_word']:.2f} per word; "
        f"{measured['round_trip_share']:.1%} of the lines come back as they were"
    )
    return {"tokenizer": measured}


def lines_of(folder: Path, split: str, language: str) -> Iterator[str]:
    """All sentences of a split's documents and pairs."""
    for file in (document_file, pair_file):
        yield from (line for line in read_lines(file(folder, split, language)) if line)


if __name__ == "__main__":
    sys.exit(run_stage(declare, train))
