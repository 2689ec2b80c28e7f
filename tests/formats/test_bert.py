"""Going on from a Hugging Face BERT, whatever the order of its vocabulary."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertForPreTraining, BertModel

from pipelines.formats.bert.loading import load_pretrained
from pipelines.formats.bert.names import hugging_face_name
from pipelines.formats.bert.saving import save_pretrained
from pipelines.formats.vocabulary.special_tokens import SPECIAL_TOKENS
from pipelines.frame.errors import CheckpointError
from pipelines.models.bert import Bert
from pipelines.nn.transformer.params import BertModelParams
from tests.bert.sample import MODEL

OURS = [*SPECIAL_TOKENS, "a", "b", "c", "##d"]
# "a" is unknown to it
THEIRS = [
    "x",
    "c",
    "[PAD]",
    "[CLS]",
    "[SEP]",
    "[UNK]",
    "[MASK]",
    "b",
    "##d",
    "y",
]
PARAMS = BertModelParams(**MODEL)


def _folder(path, tokens):
    path.mkdir()
    (path / "vocab.txt").write_text("".join(f"{token}\n" for token in tokens))
    return path


@pytest.fixture
def given(tmp_path):
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=10,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=80,
    )
    folder = _folder(tmp_path / "given", THEIRS)
    theirs = BertForPreTraining(config)
    theirs.save_pretrained(folder)
    return folder, theirs


def test_load_pretrained_copies_rows_by_token_and_everything_else_as_it_is(given, tmp_path):
    folder, theirs = given
    bert = Bert(PARAMS, len(OURS))
    own_row = bert.embeddings.token.weight[OURS.index("a")].clone()
    taken = load_pretrained(bert, folder, _folder(tmp_path / "own", OURS))
    weights = dict(theirs.named_parameters())
    for own, token in enumerate(OURS):
        expected = (
            own_row
            if token == "a"
            else weights["bert.embeddings.word_embeddings.weight"][THEIRS.index(token)]
        )
        assert torch.equal(bert.embeddings.token.weight[own], expected)
    assert torch.equal(
        bert.embeddings.position.weight, weights["bert.embeddings.position_embeddings.weight"][:64]
    )
    for name, parameter in bert.named_parameters():
        if name not in ("embeddings.token.weight", "embeddings.position.weight", "mlm_bias"):
            assert torch.equal(parameter, weights[hugging_face_name(name)]), name
    # the row of "a" and its bias
    assert taken == sum(parameter.numel() for parameter in bert.parameters()) - 33


def test_load_pretrained_bare_encoder_keeps_fresh_heads(given, tmp_path):
    folder, theirs = given
    bare = _folder(tmp_path / "bare", THEIRS)
    BertModel.from_pretrained(folder, add_pooling_layer=False).save_pretrained(bare)
    bert = Bert(PARAMS, len(OURS))
    fresh = bert.nsp.weight.clone()
    load_pretrained(bert, bare, _folder(tmp_path / "own", OURS))
    assert torch.equal(bert.nsp.weight, fresh)
    assert torch.equal(
        bert.blocks[0].attention.query.weight,
        theirs.bert.encoder.layer[0].attention.self.query.weight,
    )


def test_load_pretrained_reads_what_save_pretrained_wrote(tmp_path):
    torch.manual_seed(0)
    own = _folder(tmp_path / "own", OURS)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (own / name).write_text("{}")
    first = Bert(PARAMS.model_copy(update={"vocab_pad_multiple": 64}), len(OURS))
    assert first.embeddings.token.num_embeddings == 64
    folder = tmp_path / "saved"
    folder.mkdir()
    rates = {"dropout": 0.1, "attention_dropout": 0.2}
    save_pretrained(first, PARAMS.model_copy(update=rates), own, folder)
    config = json.loads((folder / "config.json").read_text())
    assert config["vocab_size"] == len(OURS)
    assert (config["hidden_dropout_prob"], config["attention_probs_dropout_prob"]) == (0.1, 0.2)
    second = Bert(PARAMS, len(OURS))
    load_pretrained(second, folder, own)
    for name, parameter in second.named_parameters():
        assert torch.equal(parameter, first.state_dict()[name][: len(parameter)]), name


def test_load_pretrained_other_sizes_are_refused_with_the_tensor(given, tmp_path):
    folder, _ = given
    bert = Bert(BertModelParams(**{**MODEL, "feed_forward_width": 65}), len(OURS))
    with pytest.raises(
        CheckpointError, match=r"intermediate.dense.weight \(\(64, 32\)\) must fit \(65, 32\)"
    ):
        load_pretrained(bert, folder, _folder(tmp_path / "own", OURS))


def test_load_pretrained_missing_tensor_or_strange_vocabulary_is_refused(given, tmp_path):
    folder, _ = given
    own = _folder(tmp_path / "own", OURS)
    other = _folder(tmp_path / "other", ["p", "q"])
    shutil.copy(folder / "model.safetensors", other)
    with pytest.raises(CheckpointError, match="has no token of"):
        load_pretrained(Bert(PARAMS, len(OURS)), other, own)
    weights = load_file(folder / "model.safetensors")
    del weights["bert.encoder.layer.1.output.dense.bias"]
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"layer.1.output.dense.bias \(missing\)"):
        load_pretrained(Bert(PARAMS, len(OURS)), folder, own)
