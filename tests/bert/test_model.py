"""Our BERT against transformers' (the oracle) and published parameter counts."""

import pytest
import torch
from transformers import BertConfig, BertForPreTraining

from pipelines.bert.model import Bert
from pipelines.bert.params import BertModelParams
from pipelines.bert.saving import save_pretrained
from pipelines.layers.hugging_face import hugging_face_name, to_hugging_face
from tests.optimization import OPTIMIZATION

TINY = BertModelParams(
    num_layers=2, width=32, num_heads=4, feed_forward_width=64, dropout=0.0, max_positions=40, initializer_range=0.1
)


def _theirs(params: BertModelParams, vocab_size: int) -> BertForPreTraining:
    config = BertConfig(
        vocab_size=vocab_size,
        hidden_size=params.width,
        num_hidden_layers=params.num_layers,
        num_attention_heads=params.num_heads,
        intermediate_size=params.feed_forward_width,
        max_position_embeddings=params.max_positions,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        attn_implementation="eager",
    )
    return BertForPreTraining(config).eval()


@pytest.fixture
def pair():
    torch.manual_seed(0)
    ours = Bert(TINY, 50).eval()
    torch.nn.init.normal_(ours.mlm_bias)
    theirs = _theirs(TINY, 50)
    missing, unexpected = theirs.load_state_dict(to_hugging_face(ours.state_dict()), strict=False)
    assert unexpected == []
    assert all("decoder" in name or "position_ids" in name for name in missing)  # tied to the embeddings
    theirs.tie_weights()
    return ours, theirs


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(5, 50, (3, 20), generator=generator)
    types = torch.zeros_like(tokens)
    types[:, 11:] = 1
    return tokens, types, torch.tensor([20, 13, 17])


def test_forward_logits_equal_transformers(pair, batch):
    ours, theirs = pair
    tokens, types, lengths = batch
    mask = torch.arange(20) < lengths[:, None]
    output = ours(tokens, types, lengths)
    expected = theirs(input_ids=tokens, token_type_ids=types, attention_mask=mask.long())
    torch.testing.assert_close(
        ours.mlm_logits(output.hidden_BTD)[mask], expected.prediction_logits[mask], atol=1e-5, rtol=0
    )
    torch.testing.assert_close(ours.nsp_logits(output.pooled_BD), expected.seq_relationship_logits, atol=1e-5, rtol=0)


def test_losses_and_gradients_equal_transformers(pair, batch):
    from pipelines.bert.data import SegmentBatch
    from pipelines.bert.module import BertPretraining
    from pipelines.bert.params import BertTrainingParams

    ours, theirs = pair
    tokens, types, lengths = batch
    positions = torch.tensor([3, 7, 22, 45])
    labels = torch.tensor([9, 10, 11, 12])
    nsp = torch.tensor([0, 1, 1])
    params = BertTrainingParams(**OPTIMIZATION, learning_rate=1.0)
    module = BertPretraining(ours, params, learning_rate=1.0, validation_batches=[])
    loss, _ = module.losses(SegmentBatch(tokens, types, lengths, positions, labels, nsp, 0, 50))
    loss.backward()

    full = torch.full((60,), -100)
    full[positions] = labels
    mask = torch.arange(20) < lengths[:, None]
    expected = theirs(
        input_ids=tokens,
        token_type_ids=types,
        attention_mask=mask.long(),
        labels=full.view(3, 20),
        next_sentence_label=nsp,
    ).loss
    expected.backward()
    torch.testing.assert_close(loss, expected, atol=1e-5, rtol=0)
    gradients = {name: parameter.grad for name, parameter in theirs.named_parameters()}
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[hugging_face_name(name)], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("layers", "width", "vocab_size", "count"),
    [
        (12, 768, 30522, 110_106_428),  # counted with transformers' BertForPreTraining on the meta device
        (24, 1024, 30522, 336_226_108),
        (2, 128, 30522, 4_433_468),
        (4, 256, 30522, 11_267_900),
    ],
)
def test_parameter_count_is_berts(layers, width, vocab_size, count):
    params = BertModelParams(
        num_layers=layers,
        width=width,
        num_heads=width // 64,
        feed_forward_width=4 * width,
        dropout=0.1,
        max_positions=512,
        initializer_range=0.02,
    )
    with torch.device("meta"):
        assert sum(parameter.numel() for parameter in Bert(params, vocab_size).parameters()) == count


def test_initial_losses_are_those_of_guessing(batch):
    torch.manual_seed(0)
    params = TINY.model_copy(update={"initializer_range": 0.02})
    ours = Bert(params, 1000)
    tokens, types, lengths = batch
    output = ours(tokens, types, lengths)
    log_probability = ours.mlm_logits(output.hidden_BTD).log_softmax(-1)
    assert abs(-log_probability.mean().item() - torch.tensor(1000.0).log().item()) < 0.1
    assert abs(-ours.nsp_logits(output.pooled_BD).log_softmax(-1).mean().item() - 0.693) < 0.05


def test_save_pretrained_loads_in_transformers_with_our_logits(tmp_path, pair, batch):
    ours, _ = pair
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt"):
        (tmp_path / name).write_text("{}")
    folder = tmp_path / "bert"
    folder.mkdir()
    save_pretrained(ours, TINY, tmp_path, folder)
    theirs, info = BertForPreTraining.from_pretrained(folder, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    tokens, types, lengths = batch
    mask = torch.arange(20) < lengths[:, None]
    with torch.no_grad():
        expected = theirs.eval()(input_ids=tokens, token_type_ids=types, attention_mask=mask.long())
        output = ours(tokens, types, lengths)
        difference = (ours.mlm_logits(output.hidden_BTD) - expected.prediction_logits)[mask].abs().max()
    assert difference < 1e-5
