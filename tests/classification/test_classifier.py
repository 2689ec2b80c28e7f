"""Rows, the network against transformers, scores, and the stage from examples to files."""

import json
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer, BertForSequenceClassification

from pipelines.classification.data import ClassificationBatches, EncodedExamples, encode, in_order
from pipelines.classification.examples import Example
from pipelines.classification.metrics import accuracy_and_f1, majority_accuracy
from pipelines.classification.model import BertClassifier
from pipelines.formats.bert.saving import save_pretrained
from pipelines.formats.vocabulary.special_tokens import CLS, SEP
from pipelines.nn.transformer.params import BertModelParams
from pipelines.training.positions import Position
from tests.bert.sample import MODEL
from tests.conftest import run_in


class _Letters:
    """A tokenizer whose ids are letters."""

    def encode(self, texts: list[str]) -> list[list[int]]:
        return [[ord(letter) for letter in text] for text in texts]


def test_encode_cuts_the_longer_segment_first():
    examples = [Example("x", "a" * 9, "bb"), Example("y", "a" * 9, "b" * 9), Example("y", "a" * 9)]
    encoded = encode(examples, _Letters(), ["x", "y"], max_length=9)
    a, b = ord("a"), ord("b")
    assert encoded.tokens == [
        [CLS, a, a, a, a, SEP, b, b, SEP],
        [CLS, a, a, a, SEP, b, b, b, SEP],
        [CLS, *[a] * 7, SEP],
    ]
    assert encoded.types == [[0] * 6 + [1] * 3, [0] * 5 + [1] * 4, [0] * 9]
    assert encoded.labels == [0, 1, 1]


def _encoded(count: int) -> EncodedExamples:
    rows = [[CLS, *range(5, 7 + number % 9), SEP] for number in range(count)]
    return EncodedExamples(
        rows, [[0] * len(row) for row in rows], [number % 3 for number in range(count)]
    )


def test_batches_of_ranks_and_micro_batches_are_the_whole_batch():
    whole = ClassificationBatches(_encoded(40), 8, seed=1)(Position(1, 0, 8))
    ranks = [
        ClassificationBatches(_encoded(40), 8, seed=1, rank=r, world_size=2)(Position(1, 0, 8))
        for r in (0, 1)
    ]
    assert sorted(whole.labels_R.tolist()) == sorted(
        label for part in ranks for label in part.labels_R.tolist()
    )
    assert whole.num_tokens == sum(part.num_tokens for part in ranks)
    parts = list(whole.split(3))
    assert [len(part.labels_R) for part in parts] == [3, 3, 2]
    assert torch.equal(torch.cat([part.tokens_RT for part in parts]), whole.tokens_RT)
    assert sum(part.num_tokens for part in parts) == whole.num_tokens


def _vocabulary(folder: Path) -> Path:
    folder.mkdir()
    (folder / "vocab.txt").write_text("".join(f"t{number}\n" for number in range(20)))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_text("{}")
    return folder


def test_classifier_has_the_logits_of_transformers(tmp_path):
    torch.manual_seed(0)
    params = BertModelParams(**MODEL)
    ours = BertClassifier(params, 20, num_labels=3).eval()
    folder = tmp_path / "saved"
    folder.mkdir()
    save_pretrained(
        ours,
        params,
        _vocabulary(tmp_path / "tokenizer"),
        folder,
        architecture="BertForSequenceClassification",
        config={"id2label": {0: "a", 1: "b", 2: "c"}, "label2id": {"a": 0, "b": 1, "c": 2}},
    )
    theirs, report = BertForSequenceClassification.from_pretrained(folder, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    [batch] = in_order(_encoded(9), 9)
    mask = (batch.tokens_RT != 0).long()
    with torch.no_grad():
        expected = theirs.eval()(
            batch.tokens_RT, token_type_ids=batch.types_RT, attention_mask=mask
        ).logits
        torch.testing.assert_close(
            ours.logits(batch.tokens_RT, batch.types_RT), expected, atol=1e-5, rtol=0
        )


def test_scores_by_hand():
    measured = accuracy_and_f1(["a", "a", "a", "b"], ["a", "a", "b", "c"])
    assert measured["test_accuracy"] == 0.5
    assert measured["test_accuracy_interval"] == pytest.approx(1.96 * 0.25)
    assert measured["test_macro_f1"] == pytest.approx((4 / 5 + 0 + 0) / 3)
    assert (
        majority_accuracy(
            [Example("b", ""), Example("b", ""), Example("a", "")], [Example("b", "")]
        )
        == 1.0
    )


@pytest.mark.recipes
def test_stage_writes_a_classifier_that_transformers_runs(reproduced_copy):
    rows = {"red": "the cook is red", "blue": "a farmer waits"}
    Path("data/raw/colours").mkdir()
    for split in ("train", "valid", "test"):
        lines = [f"{label}\t{text}\tof the horse\n" for label, text in rows.items()] * 16
        Path(f"data/raw/colours/{split}.tsv").write_text(
            "label\ttext\ttext_pair\n" + "".join(lines)
        )
    Path("overlay.yaml").write_text(
        "classification:\n"
        "  common: "
        "{updates: 30, batch_size: 8, dropout: 0.0, schedule: {warmup_updates: 2}, "
        "validate_every: 10}\n"
        "  tasks:\n"
        "    colours: "
        "{kind: tsv, data: data/raw/colours, starts_from: data/bert, learning_rate: 1.0e-2}\n"
        "    order: "
        "{kind: word_order, data: data/corpus, starts_from: data/shards, learning_rate: 1.0e-2}\n"
    )
    run_in(Path.cwd(), sys.executable, "-m", "pipelines.params", "apply", "overlay.yaml")
    run_in(Path.cwd(), "dvc", "repro", "classification@colours", "classification@order")
    metrics = json.loads(Path("data/classification/colours/metrics.json").read_text())[
        "classification"
    ]
    assert metrics["test_accuracy"] == 1.0
    assert metrics["test_majority_accuracy"] == 0.5
    assert metrics["pretrained_parameters"] > 0
    order = json.loads(Path("data/classification/order/metrics.json").read_text())["classification"]
    assert order["pretrained_parameters"] == 0
    folder = Path("data/classification/colours")
    predictions = folder.joinpath("predictions.tsv").read_text().splitlines()
    assert predictions[0] == "label\tpredicted\tprobability\ttext\ttext_pair"
    assert len(predictions) == 33
    classifier = BertForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for label, text in rows.items():
        logits = classifier(**tokenizer(text, "of the horse", return_tensors="pt")).logits
        assert classifier.config.id2label[int(logits.argmax())] == label
    Path("data/raw/colours/test.tsv").write_text("label\ttext\ttext_pair\nred\n")
    result = run_in(Path.cwd(), sys.executable, "-m", "pipelines.preflight", check=False)
    assert result.returncode == 2
    assert "test.tsv:2: line ('red') must have 3 columns" in result.stderr
