"""One rule for each way a training goes wrong: planted in numbers, and in trainings."""

import copy
import re

import pytest

from pipelines.diagnosis.verdict import verdicts
from tests.conftest import ROOT
from tests.whole_pipeline import checkout

HEALTHY = {
    "section": "seq2seq.architectures.gru",
    "update": 200, "loss": 2.5, "objective": 2.8, "trivial_loss": 5.8, "uniform_loss": 7.6,
    "learning_rate": 1e-3, "peak_rate": 2e-3, "step_jacobians": {"encoder": {}},
    "rate_key": "seq2seq.architectures.gru.learning_rate",
    "schedule_key": "seq2seq.common.schedule", "training_key": "seq2seq.common",
    "batch_key": "seq2seq.common.batch_size",
    "stability": {"ratio": 0.4, "learning_rate": 1e-3, "largest_stable": 2.5e-3},
    "by_distance": {"0": 1e-3, "1": 9e-4, "2": 8e-4, "4": 6e-4, "8": 4e-4},
    "saturated": {"tanh": 0.1, "sigmoid": 0.02, "relu": 0.05},
    "point": {"kind": "saddle", "negative_share": 0.3, "fall": 0.1, "holds": False},
    "noise": {"scale": 90.0, "rows": 64},
    "layers": {"encoder": {"ratio": 2e-3}, "output_bias": {"ratio": 0.0}},
}  # fmt: skip

PLANTED = [
    ({"loss": 5.75, "objective": 6.0}, "plateau at unigram entropy",
     "the loss is 5.75, knowing token frequencies alone gives 5.80"),
    ({"loss": 12.0}, "diverged", "the loss is 12, guessing uniformly gives 7.6"),
    ({"stability": {"ratio": 3.1, "learning_rate": 3.1e-3, "largest_stable": 1e-3}},
     "learning rate above the stable step",
     "learning rate 0.0031 is 3.1 × above the largest stable step, 0.001"),
    ({"by_distance": {"0": 1.0, "2": 1e-2, "8": 1e-4}}, "gradients vanish",
     "8 tokens before the end they are 1e-04 of the last token's, 1e-06 after a dozen; try cell "
     "lstm or gru, or attention; clipping does not help"),
    ({"by_distance": {"0": 1.0, "8": 5e4}}, "gradients explode",
     "8 tokens before the end they are 5e+04 of the last token's; set "
     "seq2seq.common.gradient_clip"),
    ({"saturated": {"tanh": 0.4, "sigmoid": 0.0, "relu": 0.0}}, "saturated units",
     "tanh is saturated in 40% of units"),
    ({"saturated": {"tanh": 0.0, "sigmoid": 0.0, "relu": 0.6}}, "dead units",
     "60% of ReLU units are 0 on all tokens seen; set seq2seq.architectures.gru.activation: gelu"),
    ({"point": {"kind": "saddle", "negative_share": 0.04, "fall": 0.3, "holds": True}}, "saddle",
     "4% negative curvature, the loss falls by 0.3 along it"),
    ({"noise": {"scale": 100.0, "rows": 1}}, "batch far below the noise scale",
     "rows of a batch (1) are 100 × below the noise scale; raise seq2seq.common.batch_size"),
    ({"noise": {"scale": 4.0, "rows": 64}}, "batch above the noise scale",
     "rows of a batch (64) are 16 × the noise scale; halving seq2seq.common.batch_size costs "
     "nothing"),
    ({"layers": {"encoder": {"ratio": 0.5}}}, "steps too long",
     "a step changes encoder by 50% of its length; lower seq2seq.architectures.gru.learning_rate"),
    ({"layers": {"encoder": {"ratio": 1e-8}}}, "steps too short",
     "no layer changes by more than 1e-08 of its length an update"),
]  # fmt: skip


@pytest.mark.parametrize(("planted", "name", "words"), PLANTED, ids=[one[1] for one in PLANTED])
def test_what_is_planted_is_said_alone_with_its_figure(planted, name, words):
    said = verdicts({**copy.deepcopy(HEALTHY), **planted})
    assert [one.name for one in said] == [name]
    assert words in str(said[0])
    assert said[0].key.startswith("seq2seq.")
    page = (ROOT / "docs/diagnosis.md").read_text(encoding="utf-8")
    assert f"### {name}\n" in page
    assert said[0].page == f"docs/diagnosis.md#{name.replace(' ', '-')}"


def test_a_healthy_training_gets_no_verdict_nor_does_what_was_not_measured():
    assert verdicts(HEALTHY) == []
    assert verdicts({"section": "bert"}) == []
    assert verdicts({**HEALTHY, "noise": {"scale": "inf", "rows": 1}}) == []
    assert verdicts({**HEALTHY, "step_jacobians": {}, "by_distance": {"0": 1.0, "8": 1e-9}}) == []
    ended = {"learning_rate": 1e-9, "layers": {"encoder": {"ratio": 1e-9}}}
    assert verdicts({**HEALTHY, **ended}) == []
    no_gradient = {**HEALTHY, "by_distance": {"0": 0.0, "8": 0.0}}
    assert verdicts(no_gradient) == []


def test_every_rule_is_planted():
    source = (ROOT / "pipelines/diagnosis/verdict.py").read_text(encoding="utf-8")
    named = set(re.findall(r'Verdict\(\s*"([^"]+)"', source))
    assert named == {name for _, name, _ in PLANTED}


@pytest.fixture(scope="module")
def embedded(tmp_path_factory):
    """The embedded corpus, its tokenizer and shards."""
    import contextlib
    from importlib import import_module

    from pipelines.frame.stage import run_stage

    folder = checkout(tmp_path_factory.mktemp("embedded"))
    stages = {"corpus.prepare": "prepare", "tokenizer.train": "train", "shards.write": "write"}
    with contextlib.chdir(folder), pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "disabled")
        for module, compute in stages.items():
            code = import_module(f"pipelines.{module}")
            assert run_stage(code.declare, getattr(code, compute)) == 0
    return folder


_BERT = {
    "bert__model__width": 64, "bert__model__num_heads": 2, "bert__model__feed_forward_width": 128,
    "bert__training__schedule__warmup_updates": 10,
}  # fmt: skip
_PAIRS = {"seq2seq__common__bleu_pairs": 0, "seq2seq__common__schedule__warmup_updates": 10}
_ONE_WAY = {"cell": {"name": "rnn"}, "bidirectional": False, "learning_rate": 1e-3}


def _of(architecture, **block):
    laid = {f"seq2seq__architectures__{architecture}__{key}": one for key, one in block.items()}
    return f"seq2seq.architectures.{architecture}", {**_PAIRS, **laid}


TRAININGS = [
    ("too large a rate", "bert", 60, {**_BERT, "bert__training__learning_rate": 0.2},
     "steps too long"),
    ("too large a rate, Transformer",
     *_of("transformer", width=64, activation="relu", learning_rate=0.3),
     60, "learning rate above the stable step"),
    ("vanishing gradient", *_of("gru", width=64, **_ONE_WAY), 60, "gradients vanish"),
    ("no warm-up", "bert", 60,
     {**_BERT, "bert__training__schedule__warmup_updates": 0,
      "bert__training__learning_rate": 0.02}, "plateau at unigram entropy"),
    ("wrong initialisation", "bert", 60, {**_BERT, "bert__model__initializer_range": 1.0},
     "saturated units"),
    ("tiny batch", "bert", 60, {**_BERT, "bert__phases__0__batch_size": 1},
     "batch far below the noise scale"),
    ("dead units", *_of("transformer", width=64, activation="relu", learning_rate=0.5),
     60, "dead units"),
    ("healthy BERT", "bert", 150, _BERT, ""),
    ("healthy GRU", *_of("gru", width=64), 60, ""),
    ("healthy LSTM", *_of("gru", width=64, cell={"name": "lstm"}), 60, ""),
    ("healthy GRU with attention", *_of("gru_attention", width=64), 60, ""),
    ("healthy Transformer", *_of("transformer", width=64), 60, ""),
    ("healthy encoder-decoder of BERTs", *_of("rnd2rnd", width=64), 60, ""),
]  # fmt: skip


@pytest.mark.learning
@pytest.mark.parametrize("case", TRAININGS, ids=[one[0] for one in TRAININGS])
def test_a_planted_training_gets_its_verdict_and_a_healthy_one_none(embedded, case, monkeypatch):
    import torch

    from tests.diagnosis.planted import names

    monkeypatch.chdir(embedded)
    _, section, *rest, expected = case
    updates, overrides = rest if isinstance(rest[0], int) else rest[::-1]
    torch.set_num_threads(1)
    said = names(section, updates, **overrides)
    assert (expected in said) if expected else said == []
