"""Stage ``tokenizer``: training text → a WordPiece vocabulary, the same bytes every time.

`tokenizers` trains WordPiece in the order of a hash map: two trainings on one text give two vocabularies
(huggingface/tokenizers #1794). Naming every ``##c`` of the sorted alphabet in advance fixes the order of the
only tokens it touches; the vocabulary is then put into a fresh model, where they are ordinary tokens.
"""

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipelines.corpus.corpus import document_file, pair_file, read_lines
from pipelines.errors import DataError, broken_rule
from pipelines.records import write_json
from pipelines.sections import Document, validate
from pipelines.stage import Metrics, Stage, StageRun, run_stage
from pipelines.tokenizer.params import TokenizerParams
from pipelines.tokenizer.special_tokens import CLS, SEP, SPECIAL_TOKENS, UNK
from pipelines.tokenizer.tokenizer import TOKENIZER_FILE, WordPieceTokenizer
from pipelines.tokenizer.vocabulary import VOCABULARY_FILE, read_vocabulary

CORPUS = Path("data/corpus")


def declare(document: Document) -> Stage:
    """Reads the training text of the corpus, and the vocabulary to take over if there is one."""
    vocabulary = Path(validate(document, "tokenizer", TokenizerParams).vocabulary_from)
    sections = {"corpus.source_language": str, "corpus.target_language": str, "tokenizer": TokenizerParams}
    return Stage("tokenizer", "pipelines.tokenizer.train", sections, tuple(dict.fromkeys((CORPUS, vocabulary))))


def train(run: StageRun) -> Metrics:
    """Train, save, and measure how text survives the way there and back."""
    params = run.section("tokenizer", TokenizerParams)
    languages = run.section("corpus.source_language", str), run.section("corpus.target_language", str)
    lines = list(training_lines(CORPUS, languages))
    given = Path(params.vocabulary_from)
    vocabulary = train_vocabulary(lines, params) if given == CORPUS else take_over(read_vocabulary(given), given)
    save(vocabulary, params, run.work)
    return {"tokenizer": _quality(WordPieceTokenizer.load(run.work), lines)}


def training_lines(folder: Path, languages: tuple[str, str]) -> Iterator[str]:
    """All sentences of the training documents and training pairs."""
    for language in languages:
        for path in (document_file(folder, "train", language), pair_file(folder, "train", language)):
            yield from (line for line in read_lines(path) if line)


def train_vocabulary(lines: list[str], params: TokenizerParams) -> dict[str, int]:
    """Token → id: special tokens, ``##c`` of every character, characters, then merges by frequency."""
    from tokenizers import Tokenizer, models, trainers

    normalizer, pre_tokenizer = _text_rules(params)
    alphabet = sorted(
        {
            char
            for line in lines
            for word, _ in pre_tokenizer.pre_tokenize_str(normalizer.normalize_str(line))
            for char in word
        }
    )
    tokenizer = Tokenizer(models.WordPiece(unk_token=SPECIAL_TOKENS[UNK]))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, pre_tokenizer
    trainer = trainers.WordPieceTrainer(
        vocab_size=params.vocab_size,
        min_frequency=params.min_frequency,
        special_tokens=[*SPECIAL_TOKENS, *(f"##{char}" for char in alphabet)],
        initial_alphabet=alphabet,
        show_progress=False,
    )
    tokenizer.train_from_iterator(lines, trainer)
    return tokenizer.get_vocab()


def take_over(tokens: list[str], source: Path) -> dict[str, int]:
    """Token → id of an existing vocabulary: special tokens first, as everywhere in this project, the rest in order.

    A BERT that goes with it is found again token by token (`pipelines.bert.saving.load_pretrained`).

    Raises:
        DataError: it lacks a special token.
    """
    if missing := [token for token in SPECIAL_TOKENS if token not in tokens]:
        where, rule = f"{source}/{VOCABULARY_FILE}", "have BERT's special tokens"
        raise DataError(broken_rule(where, "missing", ", ".join(missing), rule, "take the vocab.txt of a BERT"))
    ordered = [*SPECIAL_TOKENS, *(token for token in tokens if token not in SPECIAL_TOKENS)]
    return {token: number for number, token in enumerate(dict.fromkeys(ordered))}


def _text_rules(params: TokenizerParams) -> tuple[Any, Any]:
    from tokenizers import normalizers, pre_tokenizers

    normalizer = normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=True, strip_accents=params.strip_accents, lowercase=params.lowercase
    )
    return normalizer, pre_tokenizers.BertPreTokenizer()


def save(vocabulary: dict[str, int], params: TokenizerParams, folder: Path) -> None:
    """``tokenizer.json`` and what else `transformers` reads, and ``vocab.txt`` for eyes."""
    from tokenizers import Tokenizer, decoders, models, processors

    tokenizer = Tokenizer(
        models.WordPiece(vocab=vocabulary, unk_token=SPECIAL_TOKENS[UNK], max_input_chars_per_word=100)
    )
    tokenizer.normalizer, tokenizer.pre_tokenizer = _text_rules(params)
    tokenizer.decoder = decoders.WordPiece(prefix="##")
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", SEP), ("[CLS]", CLS))
    tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
    tokenizer.save(str(folder / TOKENIZER_FILE))
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), SPECIAL_TOKENS, strict=True))
    write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "BertTokenizer",
            "do_lower_case": params.lowercase,
            "strip_accents": params.strip_accents,
            "tokenize_chinese_chars": True,
            "model_max_length": 512,
            **names,
        },
    )
    tokens = sorted(vocabulary, key=vocabulary.__getitem__)
    (folder / VOCABULARY_FILE).write_text("".join(f"{token}\n" for token in tokens), encoding="utf-8")


def _quality(tokenizer: WordPieceTokenizer, lines: list[str]) -> dict[str, float]:
    encoded = tokenizer.encode(lines)
    counts = Counter(index for ids in encoded for index in ids)
    num_words = sum(len(line.split()) for line in lines)
    same = sum(tokenizer.decode(ids) == line for ids, line in zip(encoded, lines, strict=True))
    return {
        "vocab_size": tokenizer.vocab_size,
        "tokens_per_word": round(counts.total() / num_words, 4),
        "unknown_share": round(counts[UNK] / counts.total(), 6),
        "round_trip_share": round(same / len(lines), 4),
    }


if __name__ == "__main__":
    sys.exit(run_stage(declare, train))
