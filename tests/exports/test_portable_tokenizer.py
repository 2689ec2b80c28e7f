"""Spaces as `tokenizers` and `transformers` put them, by rules in the file, against our own."""

import pytest
from transformers import AutoTokenizer

from pipelines.exports.portable_tokenizer import portable_tokenizer, save_portable, share_alike
from pipelines.formats.text import normalise
from pipelines.formats.tokenizer.spacing import SPARE_TOKENS
from pipelines.formats.tokenizer.tokenizer import SubwordTokenizer
from pipelines.tokenizer.params import TokenizerParams
from pipelines.tokenizer.vocabulary import save, take_over, train_vocabulary
from tests.languages import SENTENCES

# Quotations within quotations, and German ones that face the other way: no regular expression.
_HARDER = {"German": 2 / 3, "Hebrew": 0.5, "Greek": 0.5}


def _trained(lines, folder, **changes):
    params = TokenizerParams(
        kind="wordpiece", vocabulary_from="x", vocab_size="characters", min_frequency=1,
        lowercase=False, strip_accents=False,
    ).model_copy(update=changes)  # fmt: skip
    save(train_vocabulary(lines, params, lines), params, folder)
    return params


@pytest.mark.parametrize("language", SENTENCES)
def test_decoded_alike(language, tmp_path):
    lines = [normalise(line) for line in SENTENCES[language]]
    _trained(lines, tmp_path)
    assert share_alike(tmp_path, lines) >= _HARDER.get(language, 1.0)


@pytest.mark.parametrize("kind", ["wordpiece", "bpe"])
def test_transformers_reads_and_writes_as_we_do(tmp_path, kind):
    lines = ['It\'s a [SEP] - (so-called) "test".', "rock - climbing in the U.S.A., 3.5 km"]
    _trained(lines, tmp_path, kind=kind)
    ours = SubwordTokenizer.load(tmp_path)
    (tmp_path / "out").mkdir()
    save_portable(tmp_path, tmp_path / "out")
    theirs = AutoTokenizer.from_pretrained(tmp_path / "out")
    for line, source, target in zip(
        lines, ours.encode(lines), ours.encode_targets(lines), strict=True
    ):
        assert theirs(line)["input_ids"] == [2, *source, 3]
        assert theirs.decode([2, *target, 3], skip_special_tokens=True) == line
        assert ours.decode(target) == line


def test_spare_tokens_of_a_vocabulary_taken_over_say_the_spaces(tmp_path):
    lines = ["a - b", "c-d."]
    params = _trained(lines, tmp_path)
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *SPARE_TOKENS, *"abcd-.", "##b"]
    (tmp_path / "taken").mkdir()
    save(take_over(tokens, tmp_path, params, lines), params, tmp_path / "taken")
    ours = SubwordTokenizer.load(tmp_path / "taken")
    decoded = portable_tokenizer(tmp_path / "taken")
    for line in lines:
        assert decoded.decode(ours.encode_targets([line])[0]) == line
