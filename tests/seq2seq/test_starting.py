"""Starting from BERT: every tensor that can come from the checkpoint does, the rest is new and
trainable.
"""

import re

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertForPreTraining, EncoderDecoderModel

from benchmarks.seq2seq_peers import give_bert_weights
from pipelines.frame.errors import CheckpointError
from pipelines.seq2seq.module import PretrainedStart, Seq2SeqFinetuning
from pipelines.seq2seq.params import CommonParams
from pipelines.seq2seq.starting import start_from_bert
from tests.models.families import build
from tests.optimization import OPTIMIZATION, PAIRS

SGD, CONSTANT = {"name": "sgd", "weight_decay": 0.0}, {"name": "constant", "warmup_updates": 0}
BOTH = {"starts_from": "data/bert", "encoder": "pretrained", "decoder": "pretrained"}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A BERT that transformers saved, of the sizes of the test family."""
    torch.manual_seed(5)
    config = BertConfig(
        vocab_size=20,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=64,
    )
    bert = BertForPreTraining(config)
    for parameter in bert.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    folder = tmp_path_factory.mktemp("bert")
    bert.save_pretrained(folder)
    _vocabulary(folder, 20)
    return folder, bert


def _vocabulary(folder, size):
    tokens = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *(f"w{number}" for number in range(5, size)),
    ]
    (folder / "vocab.txt").write_text(
        "".join(f"{token}\n" for token in tokens[:size]), encoding="utf-8"
    )


def _start(folder, vocab_size=20, **changes):
    model = build("rnd2rnd", vocab_size, double=False, **{**BOTH, **changes})
    return model, start_from_bert(model, folder, folder)


def test_start_from_bert_copies_every_shared_tensor(checkpoint):
    folder, bert = checkpoint
    before = {
        name: parameter.clone()
        for name, parameter in build("rnd2rnd", double=False).named_parameters()
    }
    model, copied = _start(folder)
    theirs = dict(bert.named_parameters())
    for stack in ("encoder", "decoder"):
        query = dict(model.named_parameters())[f"{stack}.blocks.1.attention.query.weight"]
        assert torch.equal(query, theirs["bert.encoder.layer.1.attention.self.query.weight"])
        tokens = dict(model.named_parameters())[f"{stack}.embeddings.token.weight"]
        assert torch.equal(tokens, theirs["bert.embeddings.word_embeddings.weight"])
    assert torch.equal(model.output_bias, theirs["cls.predictions.bias"])
    new = {
        name for name, parameter in model.named_parameters() if torch.equal(parameter, before[name])
    }
    assert new
    assert all("cross_attention" in name for name in new)
    assert all(dict(model.named_parameters())[name].requires_grad for name in new)
    total = sum(parameter.numel() for parameter in model.parameters())
    cross = sum(p.numel() for name, p in model.named_parameters() if "cross_attention" in name)
    assert copied == total - cross


def test_start_from_bert_encoder_equals_transformers_encoder(checkpoint):
    folder, bert = checkpoint
    model, _ = _start(folder)
    source, lengths = torch.randint(5, 20, (2, 9)), torch.tensor([9, 4])
    mask = torch.arange(9) < lengths[:, None]
    with torch.no_grad():
        expected = bert.eval().bert(input_ids=source, attention_mask=mask.long()).last_hidden_state
        actual, _ = model.encoder(source, lengths)
    torch.testing.assert_close(actual[mask], expected[mask], atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("changes", "taken"),
    [
        ({"decoder": "random"}, lambda name: name.startswith("encoder.")),
        ({"encoder": "random"}, lambda name: not name.startswith("encoder.")),
        (
            {"pretrained_parts": "embeddings"},
            lambda name: "embeddings" in name or name == "output_bias",
        ),
        (
            {"pretrained_parts": "layers"},
            lambda name: "embeddings" not in name and name != "output_bias",
        ),
        ({"shared": True}, lambda name: True),
    ],
    ids=["bert2rnd", "rnd2bert", "embeddings", "layers", "bertshare"],
)
def test_start_from_bert_takes_over_what_is_asked_for(checkpoint, changes, taken):
    folder, _ = checkpoint
    model, copied = _start(folder, **changes)
    before = dict(build("rnd2rnd", double=False, **{**BOTH, **changes}).named_parameters())
    changed = {
        name
        for name, parameter in model.named_parameters()
        if not torch.equal(parameter, before[name])
    }
    assert changed == {name for name in before if taken(name) and "cross_attention" not in name}
    assert copied == sum(before[name].numel() for name in changed)


def test_bertshare_has_one_set_of_weights_and_new_cross_attention(checkpoint):
    model, _ = _start(checkpoint[0], shared=True)
    assert (
        model.decoder.blocks[1].feed_forward.inner.weight
        is model.encoder.blocks[1].feed_forward.inner.weight
    )
    assert model.decoder.embeddings.token.weight is model.encoder.embeddings.token.weight
    apart = {name for name, _ in model.named_parameters() if name.startswith("decoder.")}
    assert apart
    assert all("cross_attention" in name for name in apart)


@pytest.mark.parametrize("shared", [False, True])
def test_bert2bert_equals_encoder_decoder_model(checkpoint, shared):
    """`transformers.EncoderDecoderModel` with our weights, cross-attention included, gives our
    logits.
    """
    folder, _ = checkpoint
    model, _ = _start(folder, shared=shared)
    theirs = EncoderDecoderModel.from_encoder_decoder_pretrained(folder, folder).eval()
    theirs.decoder.tie_weights()
    give_bert_weights(model, theirs)
    source, lengths = torch.randint(5, 20, (2, 9)), torch.tensor([9, 4])
    inputs = torch.randint(5, 20, (2, 6))
    mask = (torch.arange(9) < lengths[:, None]).long()
    expected = theirs(input_ids=source, attention_mask=mask, decoder_input_ids=inputs).logits
    torch.testing.assert_close(
        model.logits(model.hidden(source, lengths, inputs)), expected, atol=2e-5, rtol=0
    )


def test_frozen_updates_leave_pretrained_weights_alone_then_move_them_at_their_own_rate(checkpoint):
    model, _ = _start(checkpoint[0], decoder="random")
    start = PretrainedStart(frozenset(model.bert_names()), 0.5, 2)
    params = CommonParams(
        **{**OPTIMIZATION, "optimizer": SGD, "schedule": CONSTANT},
        updates=4,
        batch_size=2,
        label_smoothing=0.0,
        **PAIRS,
    )
    module = Seq2SeqFinetuning(
        model, params, learning_rate=0.1, updates=4, validation_batches=[], start=start
    )
    assert module.frozen(1) == start.names
    assert not module.frozen(2)
    rates = {
        id(p): group["lr"]
        for group in module.configure_optimizers()["optimizer"].param_groups
        for p in group["params"]
    }
    for name, parameter in model.named_parameters():
        assert rates[id(parameter)] == pytest.approx(0.05 if name in start.names else 0.1)


def test_start_from_bert_other_vocabulary_is_refused_with_both_hashes(checkpoint, tmp_path):
    _vocabulary(tmp_path, 19)
    model = build("rnd2rnd", double=False, **BOTH)
    with pytest.raises(
        CheckpointError, match=r"its vocabulary \([0-9a-f]{12}\) must be .*'s \([0-9a-f]{12}\)"
    ):
        start_from_bert(model, checkpoint[0], tmp_path)


def test_start_from_bert_other_sizes_are_refused_with_both_shapes(checkpoint):
    with pytest.raises(
        CheckpointError, match=r"\(\(24, 16\)\) must fit \(25, 16\); give the network the sizes"
    ):
        _start(checkpoint[0], feed_forward_width=25)
    with pytest.raises(CheckpointError, match=r"its vocabulary \(20\) must be the model's \(30\)"):
        _start(checkpoint[0], vocab_size=30)


@pytest.mark.parametrize("old_names", [False, True], ids=["bare", "gamma"])
def test_start_from_bert_takes_bare_encoders_and_early_names(checkpoint, tmp_path, old_names):
    """As checkpoints of BertModel are, and those of 2018: the head that is not there stays
    random.
    """
    weights = load_file(checkpoint[0] / "model.safetensors")
    early = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
    if old_names:
        given = {
            re.sub("|".join(early), lambda match: early[match.group()], name): x
            for name, x in weights.items()
        }
    else:
        given = {
            name.removeprefix("bert."): x for name, x in weights.items() if name.startswith("bert.")
        }
    save_file(given, tmp_path / "model.safetensors")
    _vocabulary(tmp_path, 20)
    expected = dict(_start(checkpoint[0])[0].named_parameters())
    fresh = dict(build("rnd2rnd", double=False, **BOTH).named_parameters())
    for name, parameter in _start(tmp_path)[0].named_parameters():
        head = name.startswith("mlm_transform") or name == "output_bias"
        assert torch.equal(parameter, (expected if old_names or not head else fresh)[name]), name


def test_start_from_bert_family_without_a_bert_is_refused(checkpoint):
    with pytest.raises(CheckpointError, match="cannot start from a BERT"):
        start_from_bert(build("gru", double=False), checkpoint[0], checkpoint[0])


def test_start_from_bert_missing_checkpoint_is_refused(tmp_path):
    _vocabulary(tmp_path, 20)
    with pytest.raises(CheckpointError, match="run dvc repro bert"):
        _start(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"starts_from": "data/shards", "encoder": "pretrained"}, "must name a BERT"),
        ({"starts_from": "data/bert"}, "must name a BERT"),
        ({**BOTH, "decoder": "random", "shared": True}, "must agree where shared"),
        ({"num_heads": 3}, r"num_heads \(3\) must divide width \(16\)"),
    ],
)
def test_block_that_contradicts_itself_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        build("rnd2rnd", **changes)


def test_tokens_added_at_the_end_of_the_vocabulary_keep_their_random_rows(checkpoint, tmp_path):
    """As spacing tokens are, where a BERT's vocabulary has none free."""
    folder, bert = checkpoint
    _vocabulary(tmp_path, 22)
    fresh = dict(build("rnd2rnd", 22, double=False, **BOTH).named_parameters())
    model = build("rnd2rnd", 22, double=False, **BOTH)
    start_from_bert(model, folder, tmp_path)
    name = "encoder.embeddings.token.weight"
    rows = dict(model.named_parameters())[name]
    assert torch.equal(rows[:20], bert.bert.embeddings.word_embeddings.weight)
    assert torch.equal(rows[20:], fresh[name][20:])
    assert torch.equal(model.output_bias[:20], bert.cls.predictions.bias)
