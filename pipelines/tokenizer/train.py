"""Stage ``tokenizer``: training text → a WordPiece vocabulary, the same bytes every time.

`tokenizers` trains WordPiece in the order of a hash map: two trainings on one text give two
vocabularies (huggingface/tokenizers #1794). Naming every ``##c`` of the sorted alphabet in advance
fixes the order of the only tokens it touches; the vocabulary is then put into a fresh model, where
they are ordinary tokens.
"""

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.formats.corpus.files import document_file, pair_file, read_lines
from pipelines.formats.text_rules import normalizer, pre_tokenizer
from pipelines.formats.tokenizer.spacing import SPACING_TOKENS, SPARE_TOKENS, is_han
from pipelines.formats.tokenizer.tokenizer import CONFIG_FILE, TOKENIZER_FILE, WordPieceTokenizer
from pipelines.formats.vocabulary.files import VOCABULARY_FILE, read_vocabulary
from pipelines.formats.vocabulary.special_tokens import CLS, SEP, SPECIAL_TOKENS, UNK
from pipelines.frame.errors import DataError, broken_rule
from pipelines.frame.files import write_json
from pipelines.frame.params_reader import ParamsFile, validate
from pipelines.frame.stage import Metrics, Stage, StageRun, run_stage
from pipelines.tokenizer.params import TokenizerParams
from pipelines.tokenizer.quality import quality, warnings_of

if TYPE_CHECKING:
    from tokenizers import Tokenizer

CORPUS = Path("data/corpus")
_LONGEST_WORD = (
    1000  # characters; Thai is written without spaces, and 100 (BERT's) made [UNK] of its sentences
)


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
    lines = list(training_lines(CORPUS, languages))
    targets = [line for line in read_lines(pair_file(CORPUS, "train", languages[1])) if line]
    given = Path(params.vocabulary_from)
    if given == CORPUS:
        vocabulary = train_vocabulary(lines, params, targets)
    else:
        vocabulary = take_over(read_vocabulary(given), given, params, targets)
    save(vocabulary, params, run.work)
    tokenizer = WordPieceTokenizer.load(run.work)
    measured = quality(tokenizer, params, lines, targets)
    for warning in warnings_of(measured, tokenizer, params, lines):
        run.warn(warning)
    run.say(
        f"{measured['vocab_size']:,} pieces, {measured['tokens_per_word']:.2f} per word; "
        f"{measured['round_trip_share']:.1%} of the lines come back as they were"
    )
    return {"tokenizer": measured}


def training_lines(folder: Path, languages: tuple[str, str]) -> Iterator[str]:
    """All sentences of the training documents and training pairs."""
    for language in languages:
        for path in (
            document_file(folder, "train", language),
            pair_file(folder, "train", language),
        ):
            yield from (line for line in read_lines(path) if line)


def train_vocabulary(
    lines: list[str], params: TokenizerParams, targets: Sequence[str] = ()
) -> dict[str, int]:
    """Token → id: special tokens, ``##c`` of every character, characters, then merges by frequency.

    Spacing tokens come last, if decoding would guess a space wrongly in any of the ``targets``.

    Raises:
        DataError: ``tokenizer.vocab_size`` is too small for the characters alone.
    """
    from tokenizers import Tokenizer, models, trainers

    rules = normalizer(lowercase=params.lowercase, strip_accents=params.strip_accents)
    words = pre_tokenizer()
    alphabet = sorted(
        {
            char
            for line in lines
            for word, _ in words.pre_tokenize_str(rules.normalize_str(line))
            for char in word
        }
    )
    # A Han character is always a word of its own, so it never goes on with one.
    inner = [f"##{char}" for char in alphabet if not is_han(char)]
    characters = dict.fromkeys([*SPECIAL_TOKENS, *inner, *alphabet])
    spacing = _spacing_for(targets, characters, params)
    smallest = len(characters) + len(spacing)
    size = smallest if params.vocab_size == "characters" else params.vocab_size
    if size < smallest:
        rule = f"be at least {smallest}: the training text has {len(alphabet)} different characters"
        remedy = (
            f"raise it ({2 * smallest} leaves room for words), set characters, or take rare ones "
            "out of the text"
        )
        raise DataError(broken_rule("params.yaml", "tokenizer.vocab_size", size, rule, remedy))
    tokenizer = Tokenizer(models.WordPiece(unk_token=SPECIAL_TOKENS[UNK]))
    tokenizer.normalizer, tokenizer.pre_tokenizer = rules, words
    trainer = trainers.WordPieceTrainer(
        vocab_size=size - len(spacing),
        min_frequency=params.min_frequency,
        special_tokens=[*SPECIAL_TOKENS, *inner],
        initial_alphabet=alphabet,
        show_progress=False,
    )
    tokenizer.train_from_iterator(lines, trainer)
    return _with_tokens(tokenizer.get_vocab(), spacing)


def _spacing_for(
    targets: Sequence[str], tokens: Iterable[str], params: TokenizerParams
) -> tuple[str, ...]:
    """The spacing tokens that must join a vocabulary for these targets: both, or none."""
    vocabulary = _with_tokens({}, tokens)
    if set(SPARE_TOKENS) <= vocabulary.keys():
        return ()
    tokenizer = WordPieceTokenizer(assembled(vocabulary, params))
    return SPACING_TOKENS if tokenizer.needs_spacing(targets) else ()


def _with_tokens(vocabulary: dict[str, int], tokens: Iterable[str]) -> dict[str, int]:
    new = (token for token in tokens if token not in vocabulary)
    return vocabulary | {token: number for number, token in enumerate(new, start=len(vocabulary))}


def take_over(
    tokens: list[str], source: Path, params: TokenizerParams, targets: Sequence[str] = ()
) -> dict[str, int]:
    """Token → id of an existing vocabulary: special tokens first,
    as everywhere in this project, the rest in order.

    A BERT that goes with it is found again token by token (`load_pretrained`). Spacing tokens
    come last, if the ``targets`` need them and it keeps none free.

    Raises:
        DataError: it lacks a special token.
    """
    if missing := [token for token in SPECIAL_TOKENS if token not in tokens]:
        where, rule = f"{source}/{VOCABULARY_FILE}", "have BERT's special tokens"
        raise DataError(
            broken_rule(where, "missing", ", ".join(missing), rule, "take the vocab.txt of a BERT")
        )
    vocabulary = _with_tokens({}, dict.fromkeys([*SPECIAL_TOKENS, *tokens]))
    return _with_tokens(vocabulary, _spacing_for(targets, vocabulary, params))


def assembled(vocabulary: dict[str, int], params: TokenizerParams) -> "Tokenizer":
    """The tokenizer of a vocabulary, as it is written to ``tokenizer.json``."""
    from tokenizers import Tokenizer, decoders, models, processors

    model = models.WordPiece(
        vocabulary, unk_token=SPECIAL_TOKENS[UNK], max_input_chars_per_word=_LONGEST_WORD
    )
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizer(
        lowercase=params.lowercase, strip_accents=params.strip_accents
    )
    tokenizer.pre_tokenizer = pre_tokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix="##")
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", SEP), ("[CLS]", CLS))
    tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
    return tokenizer


def save(vocabulary: dict[str, int], params: TokenizerParams, folder: Path) -> None:
    """``tokenizer.json`` and what else `transformers` reads, and ``vocab.txt`` for eyes."""
    assembled(vocabulary, params).save(str(folder / TOKENIZER_FILE))
    names = dict(
        zip(
            ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"),
            SPECIAL_TOKENS,
            strict=True,
        )
    )
    write_json(
        folder / CONFIG_FILE,
        {
            # Not BertTokenizer, for then transformers 5 would not read the rules of tokenizer.json.
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_input_names": ["input_ids", "token_type_ids", "attention_mask"],
            "do_lower_case": params.lowercase,
            "strip_accents": params.strip_accents,
            "tokenize_chinese_chars": True,
            "model_max_length": 512,
            **names,
        },
    )
    tokens = sorted(vocabulary, key=vocabulary.__getitem__)
    (folder / VOCABULARY_FILE).write_text(
        "".join(f"{token}\n" for token in tokens), encoding="utf-8"
    )


if __name__ == "__main__":
    sys.exit(run_stage(declare, train))
