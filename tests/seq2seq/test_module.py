"""The losses of fine-tuning: R-Drop, scheduled sampling, BLEU of a greedy decode."""

import math

import lightning.pytorch as lightning
import pytest
import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader

from pipelines.decoding.beam_search import beam_search
from pipelines.decoding.options import SearchOptions
from pipelines.formats.vocabulary.special_tokens import END, PAD, START
from pipelines.models.protocol.sources import sources
from pipelines.seq2seq.bleu import ValidationBleu
from pipelines.seq2seq.data import PairBatches
from pipelines.seq2seq.greedy import greedy
from pipelines.seq2seq.module import Seq2SeqFinetuning
from pipelines.seq2seq.params import CommonParams
from pipelines.training.positions import Batches, Position
from tests.models.families import BLOCKS, build
from tests.optimization import OPTIMIZATION, PAIRS
from tests.seq2seq.test_learning import pairs

PARAMS = CommonParams(**OPTIMIZATION, updates=10, batch_size=8, label_smoothing=0.0, **PAIRS)
BATCH = PairBatches(pairs(50, 0), 8, seed=1)(Position(0, 0, 0))


def _module(name="transformer", dropout=0.0, **options):
    model = build(name, double=False, dropout=dropout).train()
    return Seq2SeqFinetuning(
        model, PARAMS, learning_rate=0.1, updates=10, validation_batches=[], **options
    )


def test_r_drop_is_the_mean_loss_of_two_passes_and_half_alpha_their_divergence():
    module = _module(dropout=0.3, r_drop=4.0)
    torch.manual_seed(7)
    losses = module.losses(BATCH)
    torch.manual_seed(7)
    network, real = module.network, BATCH.labels_BT != PAD
    log = [
        network.logits(
            network.hidden(BATCH.source_BS, BATCH.source_lengths_B, BATCH.inputs_BT)[real]
        ).log_softmax(-1)
        for _ in range(2)
    ]
    likelihood = sum(F.nll_loss(one, BATCH.labels_BT[real], reduction="sum") for one in log) / 2
    divergence = (
        sum(F.kl_div(a, b, reduction="sum", log_target=True) for a, b in (log, log[::-1])) / 2
    )
    assert divergence > 1
    torch.testing.assert_close(
        losses.objective["loss"], likelihood + 2.0 * divergence, rtol=1e-5, atol=1e-4
    )
    torch.testing.assert_close(losses.measured["divergence"][0], divergence, rtol=1e-5, atol=1e-4)


def test_r_drop_without_dropout_costs_and_changes_nothing():
    alone, twice = _module().losses(BATCH), _module(r_drop=4.0).losses(BATCH)
    torch.testing.assert_close(twice.objective["loss"], alone.objective["loss"])
    assert twice.measured["divergence"][0].item() == pytest.approx(0.0, abs=1e-4)


def test_r_drop_and_scheduled_sampling_are_for_training_only():
    module = _module(dropout=0.3, r_drop=4.0, scheduled_sampling=1.0)
    module.network.eval()
    losses = module.losses(BATCH)
    assert "divergence" not in losses.measured
    torch.testing.assert_close(losses.objective["loss"], _module().losses(BATCH).objective["loss"])


@pytest.mark.parametrize(("update", "share"), [(0, 0.0), (5, 0.4), (10, 0.8)])
def test_scheduled_sampling_replaces_a_rising_share_by_the_models_own_words(
    monkeypatch, update, share
):
    module = _module(scheduled_sampling=0.8)
    monkeypatch.setattr(type(module), "global_step", update)
    network = module.network
    said = network.logits(
        network.hidden(BATCH.source_BS, BATCH.source_lengths_B, BATCH.inputs_BT)
    ).argmax(-1)
    inputs, replaced, places = BATCH.inputs_BT, 0, 0
    for _ in range(100):
        mixed = module._own_predictions(BATCH)
        assert torch.equal(mixed[:, 0], inputs[:, 0])
        assert bool(((mixed[:, 1:] == said[:, :-1]) | (mixed[:, 1:] == inputs[:, 1:])).all())
        assert torch.equal(mixed == PAD, inputs == PAD) or bool((said == PAD).any())
        differ = (said[:, :-1] != inputs[:, 1:]) & (inputs[:, 1:] != PAD)
        replaced += int(((mixed[:, 1:] != inputs[:, 1:]) & differ).sum())
        places += int(differ.sum())
    assert replaced / places == pytest.approx(share, abs=0.03)


def _measured_in_training(micro_batch_size):
    torch.manual_seed(0)
    module = _module("lstm_general", micro_batch_size=micro_batch_size)
    batches = Batches(PairBatches(pairs(50, 0), 8, seed=1), Position(0, 0, 0), 3)
    trainer = lightning.Trainer(
        max_steps=3, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(module, DataLoader(batches, batch_size=None, collate_fn=lambda batch: batch))
    return module.meter.read()


def test_curves_hold_gradients_of_layers_and_of_source_tokens_whatever_the_micro_batch():
    whole, parts = _measured_in_training(0), _measured_in_training(3)
    assert {
        "loss",
        "token_accuracy",
        "gradient_norm",
        "gradient_norm/encoder.layers.0",
    } <= whole.keys()
    distances = [name for name in whole if name.startswith("source_gradient/")]
    # at most 8 tokens
    assert distances == [f"source_gradient/{distance}" for distance in ("00", "01", "02", "04")]
    assert all(whole[name] > 0 for name in distances)
    assert parts == pytest.approx(whole, rel=1e-4)


@pytest.mark.parametrize("limit", ["none", 0.1, 1e6])
def test_clip_is_pytorchs_by_the_global_norm(limit):
    module = _module()
    module.params = PARAMS.model_copy(update={"gradient_clip": limit})
    module.losses(BATCH).objective["loss"].backward()
    parameters = [p for p in module.network.parameters() if p.grad is not None]
    expected = [torch.nn.Parameter(p.detach().clone()) for p in parameters]
    for mine, its in zip(parameters, expected, strict=True):
        its.grad = mine.grad.clone()
    norm = torch.nn.utils.clip_grad_norm_(expected, float("inf") if limit == "none" else limit)
    torch.testing.assert_close(module._clip(), norm)
    for mine, its in zip(parameters, expected, strict=True):
        torch.testing.assert_close(mine.grad, its.grad)


def test_validation_perplexity_is_the_exponential_of_the_loss():
    module = _module()
    module.validation_batches = [BATCH]
    measured = module.validate()
    assert measured["valid_perplexity"] == pytest.approx(math.exp(measured["valid_loss"]))


@pytest.mark.parametrize("name", BLOCKS)
def test_greedy_equals_a_beam_of_one(name):
    model = build(name)
    options = SearchOptions(1, 1, 9, START, (END,))
    found = beam_search(model, BATCH.source_BS, BATCH.source_lengths_B, options)
    expected = [[token for token in row[0].tokens if token not in (END, PAD)] for row in found]
    assert greedy(model, BATCH.source_BS, BATCH.source_lengths_B, 9) == expected


class _Words:
    def decode(self, ids):
        return " ".join(f"w{index}" for index in ids)


def test_validation_bleu_is_sacrebleus_of_the_greedy_translations():
    import sacrebleu

    shard, model = pairs(30, 3), build("gru", double=False).train()
    measured = ValidationBleu(shard, _Words(), 20, 9, batch_size=7).measure(
        model, torch.device("cpu")
    )
    assert model.training
    model.eval()
    hypotheses = [
        _Words().decode(greedy(model, *sources([shard.source[row]]), 9)[0]) for row in range(20)
    ]
    references = [_Words().decode(shard.target[row].tolist()) for row in range(20)]
    assert measured.samples[0] == {
        "source": _Words().decode(shard.source[0].tolist()),
        "reference": references[0],
        "hypothesis": hypotheses[0],
    }
    assert len(measured.samples) == 5
    assert measured.bleu == pytest.approx(sacrebleu.corpus_bleu(hypotheses, [references]).score)


def test_validation_rank_is_bleu_then_loss():
    measured = {"valid_loss": 2.5, "valid_bleu": 30.0}
    module = _module()
    assert module.validation_rank(measured) == [2.5]
    module.params = module.params.model_copy(update={"select_by": "bleu"})
    assert module.validation_rank(measured) == [-30.0, 2.5]


def test_validation_bleu_of_text_without_spaces_counts_letters():
    class Letters:
        def decode(self, ids):
            return "".join(chr(0x4E00 + index) for index in ids)

    shard, model = pairs(30, 3), build("gru", double=False)
    measured = ValidationBleu(shard, Letters(), 20, 9).measure(model, torch.device("cpu"))
    words = ValidationBleu(shard, _Words(), 20, 9).measure(model, torch.device("cpu"))
    assert measured.bleu == words.bleu
