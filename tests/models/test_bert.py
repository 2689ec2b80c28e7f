"""Our BERT against transformers' (the oracle) and published parameter counts."""

import math

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForPreTraining

from pipelines.bert.data import DocumentSplit, PretrainingBatch, PretrainingBatches
from pipelines.bert.module import Baselines, BertPretraining, measure_baselines
from pipelines.formats.bert.names import hugging_face_name, to_hugging_face
from pipelines.formats.bert.saving import save_pretrained
from pipelines.models.bert import Bert, attention_mask
from pipelines.nn.transformer.params import BertModelParams
from pipelines.training.positions import Position
from tests.bert.sample import MODEL, bert_params, mlm_logits, two_languages

TINY = BertModelParams(**MODEL)


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
    # tied to the embeddings
    assert all("decoder" in name or "position_ids" in name for name in missing)
    theirs.tie_weights()
    return ours, theirs


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(5, 50, (3, 20), generator=generator)
    types = torch.zeros_like(tokens)
    types[:, 11:] = 1
    return tokens, types, torch.tensor([20, 13, 17])


def _encode(bert, tokens, types, lengths):
    """Hidden states of padded rows, and what [CLS] is pooled to."""
    mask = torch.arange(tokens.shape[1]) < lengths[:, None]
    hidden = bert(tokens, types, attention_mask(mask.long(), packed=False))
    return hidden, bert.pooled(hidden, torch.arange(len(tokens)) * tokens.shape[1])


def _module(bert, params=None):
    return BertPretraining(bert, params or bert_params(), [], Baselines(0.0, 5.0, 5.0, 0.5))


def test_forward_logits_equal_transformers(pair, batch):
    ours, theirs = pair
    tokens, types, lengths = batch
    mask = torch.arange(20) < lengths[:, None]
    hidden, pooled = _encode(ours, tokens, types, lengths)
    expected = theirs(input_ids=tokens, token_type_ids=types, attention_mask=mask.long())
    torch.testing.assert_close(
        mlm_logits(ours, hidden)[mask], expected.prediction_logits[mask], atol=1e-5, rtol=0
    )
    torch.testing.assert_close(
        ours.nsp_logits(pooled), expected.seq_relationship_logits, atol=1e-5, rtol=0
    )


def test_losses_and_gradients_equal_transformers(pair, batch):
    ours, theirs = pair
    tokens, types, lengths = batch
    positions = torch.tensor([3, 7, 22, 45])
    labels = torch.tensor([9, 10, 11, 12])
    nsp = torch.tensor([0, 1, 1])
    ours.train()
    sequences = (torch.arange(20) < lengths[:, None]).long()
    per_row = np.array([[1, 1, 1], [2, 1, 1], lengths.tolist()])
    places = torch.arange(20).expand(3, 20)
    found = _module(ours).losses(
        PretrainingBatch(
            tokens,
            types,
            places,
            sequences,
            torch.tensor([0, 20, 40]),
            positions,
            labels,
            nsp,
            per_row,
            np.array([[0, 20, 40], lengths.tolist()]),
            0,
            Position(0, 0, 0),
        )
    )
    loss = found.objective["mlm_loss"] / 4 + found.objective["nsp_loss"] / 3
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
        torch.testing.assert_close(
            parameter.grad, gradients[hugging_face_name(name)], atol=1e-5, rtol=1e-4
        )


@pytest.mark.learning  # half a minute of compiling
@pytest.mark.parametrize("packed", [False, True])
def test_a_compiled_step_loses_and_learns_as_an_eager_one(packed):
    torch.manual_seed(0)
    params = bert_params(segments={"packed": packed})
    batch = PretrainingBatches(DocumentSplit(two_languages(), 1, "t", 0.15, 300), params)(
        Position(0, 0, 0)
    )
    eager, compiled = Bert(TINY, 300), Bert(TINY, 300)
    compiled.load_state_dict(eager.state_dict())
    modules = [_module(bert, params) for bert in (eager, compiled)]
    modules[1].compile_step()
    sums = [module.losses(batch).objective for module in modules]
    for name, value in sums[0].items():
        torch.testing.assert_close(sums[1][name], value, atol=0, rtol=1e-5)
    for objective in sums:
        sum(objective.values()).backward()
    for (name, ours), theirs in zip(eager.named_parameters(), compiled.parameters(), strict=True):
        torch.testing.assert_close(
            theirs.grad, ours.grad, atol=1e-4, rtol=1e-4, msg=lambda text, name=name: name + text
        )


@pytest.mark.parametrize(
    ("layers", "width", "vocab_size", "count"),
    [
        (
            12,
            768,
            30522,
            110_106_428,
        ),  # counted with transformers' BertForPreTraining on the meta device
        (24, 1024, 30522, 336_226_108),
        (2, 128, 30522, 4_433_468),
        (4, 256, 30522, 11_267_900),
        (4, 512, 30522, 29_058_876),
        (8, 512, 30522, 41_668_412),
        (12, 768, 28996, 108_932_934),
    ],
)
def test_parameter_count_is_berts(layers, width, vocab_size, count):
    params = BertModelParams(
        num_layers=layers,
        width=width,
        num_heads=width // 64,
        feed_forward_width=4 * width,
        dropout=0.1,
        attention_dropout=0.1,
        max_positions=512,
        initializer_range=0.02,
        vocab_pad_multiple=1,
    )
    with torch.device("meta"):
        assert (
            sum(parameter.numel() for parameter in Bert(params, vocab_size).parameters()) == count
        )


def test_initial_losses_are_those_of_guessing():
    """MLM ln V + D · 0.02² / 2 (logits of deviation 0.02 · √D on normalised states), NSP ln 2."""
    torch.manual_seed(0)
    params = BertModelParams(**{**MODEL, "width": 256, "initializer_range": 0.02})
    shard = two_languages()
    batches = PretrainingBatches(
        DocumentSplit(shard, 1, "t", 0.15, 1000), bert_params(phases={"batch_size": "full"})
    )
    batch = batches(Position(0, 0, 0))
    found = _module(Bert(params, 1000).eval()).losses(batch).measured
    mlm, nsp = (float(found[name][0]) / found[name][1] for name in ("mlm_loss", "nsp_loss"))
    assert mlm == pytest.approx(np.log(1000) + 256 * 0.02**2 / 2, abs=0.1)
    assert nsp == pytest.approx(np.log(2), abs=0.05)


@pytest.mark.parametrize("training", [False, True])
def test_packed_equals_unpacked_token_for_token(training):
    """Krell et al. 2021: attention and positions per sequence make packing exact."""
    torch.manual_seed(0)
    shard, bert = two_languages(), Bert(TINY, 300).double().train(training)
    found, sums = [], []
    for packed in (False, True):
        params = bert_params(
            segments={"packed": packed}, phases={"batch_size": "full", "max_length": 64}
        )
        batch = PretrainingBatches(DocumentSplit(shard, 1, "t", 0.15, 300), params)(
            Position(0, 0, 0)
        )
        tokens = batch.tokens_RT.flatten().clone()
        # masks belong to the place in the epoch, which packing changes
        tokens[batch.masked_M] = batch.labels_M
        mask = attention_mask(batch.sequences_RT, packed=packed)
        hidden = bert(tokens.view_as(batch.tokens_RT), batch.types_RT, mask, batch.places_RT)
        sums.append(bert.pooled(hidden, batch.first_S).abs().sum())
        lengths = [int(n) for row in batch.sequences_RT for n in torch.bincount(row)[1:]]
        spans = [
            slice(first, first + n)
            for first, n in zip(batch.first_S.tolist(), lengths, strict=True)
        ]
        found.append({tuple(tokens[span].tolist()): hidden.flatten(0, 1)[span] for span in spans})
    assert found[0].keys() == found[1].keys()
    assert max((found[0][text] - found[1][text]).abs().max() for text in found[0]) < 1e-10
    torch.testing.assert_close(sums[0], sums[1])


def test_overfits_one_batch():
    torch.manual_seed(0)
    bert = Bert(TINY, 300)
    batch = PretrainingBatches(DocumentSplit(two_languages(), 1, "t", 0.15, 300), bert_params())(
        Position(0, 0, 0)
    )
    module, optimizer = _module(bert), torch.optim.AdamW(bert.parameters(), lr=3e-3)
    for _ in range(150):
        found = module.losses(batch)
        loss = sum(total / found.measured[name][1] for name, total in found.objective.items())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    found = module.losses(batch).measured
    assert int(found["mlm_accuracy"][0]) == found["mlm_accuracy"][1]
    assert int(found["nsp_accuracy"][0]) == found["nsp_accuracy"][1]
    assert float(loss) < 0.1


def test_cost_counts_useful_operations_by_hand():
    params = bert_params(phases={"batch_size": 1})
    batch = PretrainingBatches(DocumentSplit(two_languages(), 1, "t", 0.15, 300), params)(
        Position(0, 0, 0)
    )
    n, m = int((batch.sequences_RT > 0).sum()), len(batch.labels_M)
    cost = _module(Bert(TINY, 300)).cost(batch)
    layer = n * (4 * 32 * 32 + 2 * 32 * 64) + 2 * 32 * n * n
    assert cost.tokens == n
    assert cost.flops == 6 * (2 * layer + m * (32 * 32 + 32 * 300) + 32 * 32 + 64)


def test_warning_on_the_unigram_plateau_only_when_late():
    module = _module(Bert(TINY, 300), bert_params(phases={"updates": 100}))
    assert not list(module.warnings(10, {"valid_mlm_loss": 4.99}))
    assert not list(module.warnings(50, {"valid_mlm_loss": 3.0}))
    assert "unigram plateau" in next(module.warnings(50, {"valid_mlm_loss": 4.99}))


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
        hidden, _ = _encode(ours, tokens, types, lengths)
        difference = (mlm_logits(ours, hidden) - expected.prediction_logits)[mask].abs().max()
    assert difference < 1e-5


def test_baselines_are_those_of_answering_without_reading():
    from types import SimpleNamespace

    batches = [
        SimpleNamespace(labels_M=torch.tensor([7, 7, 8]), nsp_S=torch.tensor([0, 1])),
        SimpleNamespace(labels_M=torch.tensor([9]), nsp_S=torch.tensor([1])),
    ]
    counts = torch.zeros(20)
    counts[7], counts[8] = 6, 2
    found = measure_baselines(batches, counts, 20)
    assert found.mlm_accuracy_unigram == pytest.approx(0.5)
    assert found.unigram_entropy == pytest.approx(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25)))
    assert found.uniform_loss == pytest.approx(math.log(20))
    assert found.nsp_uniform_loss == pytest.approx(math.log(2))
    assert found.nsp_accuracy_majority == pytest.approx(2 / 3)
