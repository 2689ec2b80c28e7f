"""Any remainder over any number of ranks: the sums of all ranks are those of one, whoever has no
rows.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from pipelines.bert.data import DocumentSplit, PretrainingBatches
from pipelines.bert.module import Baselines, BertPretraining
from pipelines.classification.data import ClassificationBatches, EncodedExamples
from pipelines.classification.model import BertClassifier
from pipelines.classification.module import BertClassification
from pipelines.classification.params import ClassificationCommon
from pipelines.formats.vocabulary.special_tokens import CLS, SEP
from pipelines.models.bert import Bert
from pipelines.seq2seq.data import PairBatches
from pipelines.training.positions import Batches
from tests.bert.sample import MODEL, bert_params, two_languages
from tests.conftest import ROOT, free_port
from tests.models.families import BLOCKS
from tests.optimization import OPTIMIZATION
from tests.training.ranked import START, TOKENS, few_pairs, seq2seq_module


def _gradients(
    module: Any, batch: Any, rows: int
) -> tuple[dict[str, Tensor], dict[str, int], dict[str, float]]:
    """Gradients of the summed objectives, terms, and measurements of a rank's part, by
    micro-batches.
    """
    module.zero_grad(set_to_none=True)
    module.train()
    module.meter.read()
    for part in batch.split(rows) if rows else [batch]:
        losses = module.losses(part)
        torch.stack(list(losses.objective.values())).sum().backward()
        module.meter.add(losses.measured)
    sums = {
        f"{name} {kind}": float(pair[kind])
        for name, pair in module.meter.state_dict().items()
        for kind in (0, 1)
    }
    found = {
        name: p.grad.clone() for name, p in module.network.named_parameters() if p.grad is not None
    }
    return found, dict(module.num_terms(batch)), sums


def _assert_equal_sums(module: Any, whole: Any, parts: list[Any], micro_batch_size: int) -> None:
    expected, terms, sums = _gradients(module, whole, 0)
    found = [_gradients(module, part, micro_batch_size) for part in parts]
    assert {key: sum(one[1][key] for one in found) for key in terms} == terms
    assert any(not any(one[1].values()) for one in found)  # a rank had nothing
    for name, gradient in expected.items():
        assert all(name in one[0] for one in found), name  # every rank has a gradient to exchange
        torch.testing.assert_close(
            sum(one[0][name] for one in found), gradient, atol=1e-5, rtol=1e-4
        )
    for key, value in sums.items():
        assert sum(one[2][key] for one in found) == pytest.approx(value, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("micro_batch_size", [0, 1])
@pytest.mark.parametrize("world_size", [2, 5])
@pytest.mark.parametrize("name", BLOCKS)
def test_pairs_of_every_family(name, world_size, micro_batch_size):
    options = {"seed": 1, "in_tokens": True}
    one = PairBatches(few_pairs(), TOKENS, **options)
    position = START
    while len(one(position).source_BS) >= world_size:
        position = one.after(position)
    ranks = [
        PairBatches(few_pairs(), TOKENS, **options, rank=rank, world_size=world_size)
        for rank in range(world_size)
    ]
    _assert_equal_sums(
        seq2seq_module(name), one(position), [rank(position) for rank in ranks], micro_batch_size
    )


def _trained(folder: Path, world_size: int) -> list[Any]:
    """What each of some real ranks keeps, which exchange gradients by gloo."""
    variables = {
        "TORCHELASTIC_RUN_ID": "test",
        "WORLD_SIZE": str(world_size),
        "MASTER_ADDR": "127.0.0.1",
    }
    variables["MASTER_PORT"] = str(free_port())
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.training.ranked", str(folder / f"{rank}.pt")],
            cwd=ROOT,
            env={**os.environ, **variables, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(world_size)
    ]
    for process in processes:
        told, _ = process.communicate(timeout=600)
        assert process.returncode == 0, told
    return [torch.load(folder / f"{rank}.pt") for rank in range(world_size)]


def test_two_ranks_learn_what_one_learns(tmp_path):
    """Whole trainings: token batches that leave a remainder, an empty rank among them, and
    micro-batches.
    """
    (alone,) = _trained(tmp_path, 1)
    together = _trained(tmp_path, 2)
    for key, (expected, rows, averages) in alone.items():
        shares = [one[key][1] for one in together]
        assert [sum(share) for share in zip(*shares, strict=True)] == rows
        assert any(0 in share for share in shares)
        assert any(size % 2 and size > 1 for size in rows)
        for one in together:
            torch.testing.assert_close(one[key][0], expected, atol=1e-8, rtol=1e-8)
            assert one[key][2] == pytest.approx(averages, rel=1e-8)
        assert together[0][key][2] == together[1][key][2]


@pytest.mark.parametrize("micro_batch_size", [0, 1])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("nsp", ["random", "none"])
def test_pretraining(nsp, packed, micro_batch_size):
    params = bert_params(segments={"packed": packed, "nsp": nsp}, phases={"batch_size": 3})
    torch.manual_seed(0)
    module = BertPretraining(Bert(params.model, 300), params, [], Baselines(0.0, 5.0, 5.0, 0.5))
    parts = [
        PretrainingBatches(
            DocumentSplit(two_languages(), 1, "t", 0.15, 300, rank=rank, world_size=world_size),
            params,
        )(START)
        for rank, world_size in ((0, 1), *((rank, 5) for rank in range(5)))
    ]
    _assert_equal_sums(module, parts[0], parts[1:], micro_batch_size)
    assert [module.cost(part).tokens > 0 for part in parts[1:]] == [True] * 3 + [False] * 2


@pytest.mark.parametrize("micro_batch_size", [0, 1])
def test_classification(micro_batch_size):
    rows = [[CLS, *range(5, 7 + number % 9), SEP] for number in range(40)]
    examples = EncodedExamples(
        rows, [[0] * len(row) for row in rows], [number % 3 for number in range(40)]
    )
    common = ClassificationCommon(
        **OPTIMIZATION, updates=3, batch_size=3, max_length=16, dropout=0.0
    )
    torch.manual_seed(0)
    network = BertClassifier(bert_params().model, 20, 3)
    module = BertClassification(
        network, common, learning_rate=0.1, updates=3, validation_batches=[]
    )
    parts = [
        ClassificationBatches(examples, 3, seed=1, rank=rank, world_size=world_size)(START)
        for rank, world_size in ((0, 1), *((rank, 4) for rank in range(4)))
    ]
    _assert_equal_sums(module, parts[0], parts[1:], micro_batch_size)


class _Ranked(BertPretraining):
    """As one rank of several, without a process group."""

    rank = 0

    @property
    def global_rank(self) -> int:
        return self.rank


def _weights_after(updates: int, *, rank: int = 0, seed: int = 1, before: int = 0) -> list[Tensor]:
    """Weights of a network with dropout, whose generator was somewhere else before."""
    params = bert_params(model={"dropout": 0.3}, phases={"updates": 9})
    torch.manual_seed(0)
    module = _Ranked(
        Bert(params.model, 300),
        params,
        [],
        Baselines(0.0, 5.0, 5.0, 0.5),
        seed=seed,
        micro_batch_size=3,
    )
    module.rank = rank
    batches = PretrainingBatches(DocumentSplit(two_languages(), 1, "t", 0.15, 300), params)
    torch.rand(before)
    trainer = lightning.Trainer(
        max_steps=updates, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(
        module,
        DataLoader(
            Batches(batches, START, updates), batch_size=None, collate_fn=lambda batch: batch
        ),
    )
    return [parameter.detach() for parameter in module.network.parameters()]


def test_dropout_is_a_function_of_seed_update_micro_batch_and_rank():
    """No state decides, so a resume needs none; MODEL has no dropout otherwise."""
    assert MODEL["dropout"] == 0.0
    first = _weights_after(2)
    assert all(map(torch.equal, first, _weights_after(2, before=1000)))
    for other in (_weights_after(2, rank=1), _weights_after(2, seed=2)):
        assert not all(map(torch.equal, first, other))
