"""Starting from BERT: every tensor that can come from the checkpoint does, the rest is new and trainable."""

import pytest
import torch
from transformers import BertConfig, BertForPreTraining

from pipelines.errors import CheckpointError
from pipelines.seq2seq.starting import start_from_bert
from tests.seq2seq.families import build


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
    return folder, bert


def test_start_from_bert_copies_every_shared_tensor(checkpoint):
    folder, bert = checkpoint
    model = build("rnd2rnd", double=False)
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    copied = start_from_bert(model, folder)
    theirs = dict(bert.named_parameters())
    for stack in ("encoder", "decoder"):
        query = dict(model.named_parameters())[f"{stack}.blocks.1.attention.query.weight"]
        assert torch.equal(query, theirs["bert.encoder.layer.1.attention.self.query.weight"])
        tokens = dict(model.named_parameters())[f"{stack}.embeddings.token.weight"]
        assert torch.equal(tokens, theirs["bert.embeddings.word_embeddings.weight"])
    assert torch.equal(model.output_bias, theirs["cls.predictions.bias"])
    new = {name for name, parameter in model.named_parameters() if torch.equal(parameter, before[name])}
    assert new
    assert all("cross_attention" in name for name in new)
    assert all(dict(model.named_parameters())[name].requires_grad for name in new)
    total = sum(parameter.numel() for parameter in model.parameters())
    cross = sum(p.numel() for name, p in model.named_parameters() if "cross_attention" in name)
    assert copied == total - cross


def test_start_from_bert_encoder_equals_transformers_encoder(checkpoint):
    folder, bert = checkpoint
    model = build("rnd2rnd", double=False)
    start_from_bert(model, folder)
    source, lengths = torch.randint(5, 20, (2, 9)), torch.tensor([9, 4])
    mask = torch.arange(9) < lengths[:, None]
    with torch.no_grad():
        expected = bert.eval().bert(input_ids=source, attention_mask=mask.long()).last_hidden_state
        actual, _ = model.encoder(source, lengths)
    torch.testing.assert_close(actual[mask], expected[mask], atol=1e-5, rtol=0)


def test_start_from_bert_other_sizes_are_refused_with_both_shapes(checkpoint):
    with pytest.raises(CheckpointError, match=r"\(20,\)\) must have the shape \(30,\)"):
        start_from_bert(build("rnd2rnd", vocab_size=30, double=False), checkpoint[0])


def test_start_from_bert_family_without_a_bert_is_refused(checkpoint):
    with pytest.raises(CheckpointError, match="cannot start from a BERT"):
        start_from_bert(build("gru", double=False), checkpoint[0])


def test_start_from_bert_missing_checkpoint_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="run dvc repro bert"):
        start_from_bert(build("rnd2rnd", double=False), tmp_path)
