"""The recipes of BERT train: two updates of each stretch with their own sizes, on a little of the
embedded corpus.
"""

import json
import shutil
import sys

import pytest
from transformers import BertConfig, BertForPreTraining

from tests.conftest import ROOT, copy_project, run_in

LITTLE = (
    "corpus: {reader: {num_documents: 300, num_validation_documents: 20, num_training_pairs: 40}}\n"
    "bert:\n"
    "  phases:\n"
    "    - {updates: 2, batch_size: 4, ramp: none, max_length: 128, max_predictions: 20}\n"
    "    - {updates: 2, batch_size: 2, ramp: none, max_length: 512, max_predictions: 77}\n"
    "  training: {schedule: {warmup_updates: 1%s}, validate_every: 4, log_every: 1}\n"
    "hardware: {accelerator: cpu, micro_batch_size: 0, compile: false}\n"
)


@pytest.mark.parametrize(
    ("recipes", "parameters"),
    [
        pytest.param(["bert_tiny", "bert_modern"], 4_433_468, marks=pytest.mark.learning),
        pytest.param(["bert_tiny"], 4_433_468, marks=pytest.mark.learning),
        pytest.param(["bert_mini"], 11_267_900, marks=pytest.mark.learning),
        pytest.param(["bert_base"], 110_106_428, marks=pytest.mark.learning),
        pytest.param(["bert_large", "bert_modern"], 336_226_108, marks=pytest.mark.learning),
    ],
)
def test_recipe_of_a_bert_trains_and_loads_in_transformers(tmp_path, recipes, parameters):
    """Parameter counts are those of google-research/bert, for its vocabulary of 30,522; ours is
    smaller here.
    """
    project = copy_project(tmp_path / "project")
    shutil.copy(ROOT / "params.yaml", project)
    modern = "bert_modern" in recipes
    (project / "little.yaml").write_text(LITTLE % (", decay_updates: 1" if modern else ""))
    paths = [f"recipes/{name}.yaml" for name in recipes]
    run_in(project, sys.executable, "-m", "pipelines.params", "apply", *paths, "little.yaml")
    run_in(project, "dvc", "repro", "bert", WANDB_MODE="disabled")
    measured = json.loads((project / "data/bert/metrics.json").read_text())["bert"]
    config = json.loads((project / "data/bert/config.json").read_text())
    # padded for GPUs
    rows = -(-config["vocab_size"] // 64) * 64 if modern else config["vocab_size"]
    short = 30522 - rows
    assert measured["parameters"] == parameters - short * (config["hidden_size"] + 1)
    BertForPreTraining.from_pretrained(project / "data/bert")


@pytest.mark.recipes
def test_bert_goes_on_from_one_that_transformers_saved_with_its_vocabulary(tmp_path):
    project = copy_project(tmp_path / "project")
    run_in(project, "dvc", "repro", "tokenizer", WANDB_MODE="disabled")
    given = project / "data/raw/bert"
    vocabulary = (project / "data/tokenizer/vocab.txt").read_text().splitlines()
    sizes = {
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
    }
    theirs = BertForPreTraining(
        BertConfig(vocab_size=len(vocabulary), max_position_embeddings=128, **sizes)
    )
    theirs.save_pretrained(given)
    (given / "vocab.txt").write_text(
        "".join(f"{token}\n" for token in vocabulary[:5] + vocabulary[:4:-1])
    )
    (project / "continued.yaml").write_text(
        "tokenizer: {vocabulary_from: data/raw/bert}\nbert: {starts_from: data/raw/bert}\n"
        "seq2seq: {architectures: {bert2bert: null}}\nevaluation: {comparisons: []}\n"
    )
    run_in(project, sys.executable, "-m", "pipelines.params", "apply", "continued.yaml")
    run_in(project, "dvc", "repro", "bert", WANDB_MODE="disabled")
    measured = json.loads((project / "data/bert/metrics.json").read_text())["bert"]
    assert measured["pretrained_parameters"] == measured["parameters"] == theirs.num_parameters()
    ours = (project / "data/tokenizer/vocab.txt").read_text().splitlines()
    assert sorted(ours) == sorted(vocabulary)
