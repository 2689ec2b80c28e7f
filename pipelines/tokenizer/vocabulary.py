"""A vocabulary: training text → the same bytes every time.

`tokenizers` trains WordPiece in the order of a hash map: two trainings on one text give two
vocabularies (huggingface/tokenizers #1794). Naming every ``##c`` of the sorted alphabet in advance
fixes the order of the only tokens it touches; the vocabulary is then put into a fresh model, where
they are ordinary tokens.

WordPiece and byte-pair encoding learn one vocabulary by the same merges (`tokenizers` trains the
first by the second). They part in how a word is spelt: WordPiece takes the longest piece that fits,
again and again (Wu et al. 2016, section 4.1); byte-pair encoding repeats the merges in the order
they were learnt (Sennrich et al. 2016, section 3.2).

    merges       (h, ##e)  (##r, ##o)  (he, ##r)       vocabulary  h ##e ##r ##o he ##ro her
    "hero"       WordPiece  her ##o                    byte-pair encoding  he ##ro
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.formats.text_rules import normalizer, pre_tokenizer
from pipelines.formats.tokenizer.spacing import SPACING_TOKENS, SPARE_TOKENS, is_han
from pipelines.formats.tokenizer.tokenizer import CONFIG_FILE, TOKENIZER_FILE, SubwordTokenizer
from pipelines.formats.vocabulary.files import VOCABULARY_FILE
from pipelines.formats.vocabulary.special_tokens import CLS, SEP, SPECIAL_TOKENS, UNK
from pipelines.frame.errors import DataError, broken_rule
from pipelines.frame.files import write_json
from pipelines.tokenizer.params import TokenizerParams

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_LONGEST_WORD = (
    1000  # characters; Thai is written without spaces, and 100 (BERT's) made [UNK] of its sentences
)


@dataclass(frozen=True)
class Vocabulary:
    """What is learnt from text.

    Attributes:
        ids: token → id.
        merges: of byte-pair encoding, in the order they were learnt; none in one taken over.
    """

    ids: dict[str, int]
    merges: tuple[tuple[str, str], ...] = ()

    def with_tokens(self, tokens: Iterable[str]) -> "Vocabulary":
        """The same, those of the tokens that are new at its end."""
        new = (token for token in tokens if token not in self.ids)
        return replace(
            self, ids=self.ids | {token: number for number, token in enumerate(new, len(self.ids))}
        )


def train_vocabulary(
    lines: list[str], params: TokenizerParams, targets: Sequence[str] = ()
) -> Vocabulary:
    """Special tokens, ``##c`` of every character, characters, then merges by frequency.

    Spacing tokens come last, if decoding would guess a space wrongly in any of the ``targets``.

    Raises:
        DataError: ``tokenizer.vocab_size`` is too small for the characters alone.
    """
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
    learnt = _learnt(lines, size - len(spacing), [*SPECIAL_TOKENS, *inner], alphabet, params)
    return learnt.with_tokens(spacing)


def _learnt(
    lines: Iterable[str],
    size: int,
    first: list[str],
    alphabet: list[str],
    params: TokenizerParams,
) -> Vocabulary:
    """The vocabulary of a size whose first tokens are given.

    Both kinds are trained as byte-pair encoding whose inner pieces begin with ``##``, which is
    what the library's trainer of WordPiece does too.
    """
    from tokenizers import Tokenizer, models, trainers

    tokenizer = Tokenizer(models.BPE(continuing_subword_prefix="##"))
    tokenizer.normalizer = normalizer(
        lowercase=params.lowercase, strip_accents=params.strip_accents
    )
    tokenizer.pre_tokenizer = pre_tokenizer()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        min_frequency=params.min_frequency,
        special_tokens=first,
        initial_alphabet=alphabet,
        continuing_subword_prefix="##",
        show_progress=False,
    )
    tokenizer.train_from_iterator(lines, trainer)
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    return Vocabulary(tokenizer.get_vocab(), tuple((left, right) for left, right in merges))


def _spacing_for(
    targets: Sequence[str], tokens: Iterable[str], params: TokenizerParams
) -> tuple[str, ...]:
    """The spacing tokens that must join a vocabulary for these targets: both, or none."""
    vocabulary = Vocabulary({}).with_tokens(tokens)
    if set(SPARE_TOKENS) <= vocabulary.ids.keys():
        return ()
    # Spaces stand between words, however these are spelt.
    longest_match = params.model_copy(update={"kind": "wordpiece"})
    tokenizer = SubwordTokenizer(assembled(vocabulary, longest_match))
    return SPACING_TOKENS if tokenizer.needs_spacing(targets) else ()


def take_over(
    tokens: list[str], source: Path, params: TokenizerParams, targets: Sequence[str] = ()
) -> Vocabulary:
    """An existing vocabulary: special tokens first,
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
    vocabulary = Vocabulary({}).with_tokens(dict.fromkeys([*SPECIAL_TOKENS, *tokens]))
    return vocabulary.with_tokens(_spacing_for(targets, vocabulary.ids, params))


def assembled(vocabulary: Vocabulary, params: TokenizerParams) -> "Tokenizer":
    """The tokenizer of a vocabulary, as it is written to ``tokenizer.json``."""
    from tokenizers import Tokenizer, decoders, models, processors

    unknown = SPECIAL_TOKENS[UNK]
    model = (
        models.WordPiece(vocabulary.ids, unk_token=unknown, max_input_chars_per_word=_LONGEST_WORD)
        if params.kind == "wordpiece"
        else models.BPE(
            vocabulary.ids, [*vocabulary.merges], unk_token=unknown, continuing_subword_prefix="##"
        )
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


def save(vocabulary: Vocabulary, params: TokenizerParams, folder: Path) -> None:
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
    tokens = sorted(vocabulary.ids, key=vocabulary.ids.__getitem__)
    (folder / VOCABULARY_FILE).write_text(
        "".join(f"{token}\n" for token in tokens), encoding="utf-8"
    )
