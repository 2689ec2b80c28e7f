"""Rows without padding, as GPUs take them, compiled and not, learn what padded rows do; on a CPU,
where a tested reference stands in for the kernel.
"""

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from pipelines.bert.data import DocumentSplit, PretrainingBatches
from pipelines.bert.inputs import compiled_size, unpadded
from pipelines.bert.module import Baselines, BertPretraining
from pipelines.formats.shards.arrays import PairShard
from pipelines.models.bert import Bert
from pipelines.seq2seq.data import collate
from pipelines.training.unpadding import unpad
from tests.bert.sample import bert_params, two_languages
from tests.training.ranked import START, few_pairs, seq2seq_module
from tests.training.test_ranks_without_rows import _gradients

CPU = torch.device("cpu")


@pytest.mark.parametrize("more", [0, 1, 16])
@pytest.mark.parametrize("sizes", [[3, 1, 6], [9], [4, 0, 2], [8, 8]])
def test_tokens_lie_one_after_the_other_and_then_those_that_round_up(sizes, more):
    starts, lengths = np.arange(len(sizes)) * 10, np.array(sizes)
    number = sum(sizes)
    tokens, sequences = (number + more, len(sizes) + 5) if more else (0, 0)
    places, in_sequence, bounds = unpad(starts, lengths, 9, CPU, tokens=tokens, sequences=sequences)
    expected = [(10 * row + t, t) for row, size in enumerate(sizes) for t in range(size)]
    assert list(zip(places.tolist(), in_sequence[0].tolist(), strict=True))[:number] == expected
    ends = bounds.ends_S1
    assert ends[: len(sizes) + 1].tolist() == [0, *np.cumsum(sizes)]
    assert ends[-1] == len(places) == number + more
    assert len(ends) - 1 == (sequences or len(sizes))
    assert ends.diff().min() >= 0
    assert ends.diff().max() <= 9
    assert places[number:].sum() == in_sequence[0, number:].sum() == 0


@pytest.fixture
def compiles(monkeypatch):
    """The compiler's graphs, run as they are: without the minute that kernels take."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))


def _apart(modules, batch, rows=0):
    """How far the others' measurements and gradients are from the first module's, as a share; of
    gradients, of the largest of their parameter. All have the same terms.
    """
    expected, *others = (_gradients(module, batch, rows) for module in modules)
    worst = 0.0
    for gradients, terms, sums in others:
        assert terms == expected[1]
        assert sums.keys() == expected[2].keys()
        assert gradients.keys() == expected[0].keys()
        for name, value in expected[2].items():
            worst = max(worst, abs(sums[name] - value) / max(1.0, abs(value)))
        for name, gradient in expected[0].items():
            if "key.bias" not in name:  # is zero but for rounding
                scale = gradient.abs().max().clamp(min=1e-6)
                worst = max(worst, float((gradients[name] - gradient).abs().max() / scale))
    return worst


def _bert_modules(**changes):
    params = bert_params(**changes)
    model = {**params.model.model_dump(), "dropout": 0.0, "attention_dropout": 0.0}
    params = bert_params(**changes, model=model)
    modules = []
    for unpads in (False, True, True):
        torch.manual_seed(0)
        module = BertPretraining(Bert(params.model, 300), params, [], Baselines(0.0, 5.0, 5.0, 0.5))
        module.unpads = lambda unpads=unpads: unpads
        modules.append(module)
    modules[2].compile_step()
    return params, modules


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("packed", [False, True])
def test_bert(compiles, packed, rank):
    """In micro-batches too, and on a rank that has no rows of a batch of one."""
    params, modules = _bert_modules(
        segments={"packed": packed}, phases={"batch_size": 1 if rank else 6}
    )
    split = DocumentSplit(two_languages(), 1, "t", 0.15, 300, rank=rank, world_size=1 + rank)
    source, position = PretrainingBatches(split, params), START
    for rows in (0, 2):
        assert _apart(modules, source(position), rows) < 1e-5
        position = source.after(position)


def test_bert_without_pairs(compiles):
    params, modules = _bert_modules(segments={"nsp": "none"}, phases={"batch_size": 4})
    batch = PretrainingBatches(DocumentSplit(two_languages(), 1, "t", 0.15, 300), params)(START)
    assert _apart(modules, batch) < 1e-5


@pytest.mark.parametrize("ramp", [False, True])
@pytest.mark.parametrize("micro", [0, 16, 24])
@pytest.mark.parametrize("packed", [False, True])
def test_batches_have_few_sizes(packed, micro, ramp):
    """Remainders of micro-batches and batches of a ramp among them."""
    ramped = {"updates": 40, "from_batch_size": 24} if ramp else "none"
    phases = {"batch_size": 64, "updates": 60, "ramp": ramped}
    params = bert_params(segments={"packed": packed}, phases=phases)
    source = PretrainingBatches(DocumentSplit(two_languages(), 1, "t", 0.15, 300), params)
    position, sizes = START, set()
    for _ in range(60):
        batch = source(position)
        for part in batch.split(micro or 10**6):
            tokens, number = compiled_size(part, micro), part.spans[1].sum()
            inputs = unpadded(part, tokens).rounded_up(tokens)
            assert number <= inputs.tokens_RT.numel()
            if not micro or len(part.tokens_RT) == micro:
                assert inputs.tokens_RT.numel() <= number * (1 + 1 / 16)
            assert inputs.mask.queries.ends_S1[-1] == inputs.tokens_RT.numel()
            sizes.add(tuple(len(x.flatten()) for x in inputs if isinstance(x, torch.Tensor)))
        position = source.after(position)
    assert len(sizes) <= (32 if ramp else 16), sizes


def _pairs(name, *, compiled=False, r_drop=0.0, detailed=False):
    """How far rows without padding are from padded ones. Two targets were cut, so their last tokens
    have no answer; the last batch has none at all.
    """
    shard = few_pairs()
    shard = PairShard(shard.source, shard.target, np.array([1, 4]))
    modules = []
    for unpads in (False, True):
        module = seq2seq_module(name)
        module.r_drop, module.detailed = r_drop, detailed
        module._trainer = SimpleNamespace(world_size=1)
        module.unpads = lambda unpads=unpads: unpads
        modules.append(module)
    if compiled:
        modules[1].compile_step()
        assert modules[1].compiled
    batch = collate(shard, np.array([0, 1, 2, 4]), START)
    return max(_apart(modules, batch, 2), _apart(modules, batch.without_terms()))


@pytest.mark.parametrize("r_drop", [0.0, 1.0])
@pytest.mark.parametrize("name", ["transformer", "transformer_post", "rnd2rnd", "rnd_share"])
def test_pairs(name, r_drop):
    assert _pairs(name, r_drop=r_drop) < 1e-10  # in float64


@pytest.mark.parametrize("compiled", [False, True])
def test_points_of_the_curves_have_the_gradients_of_source_tokens(compiles, compiled):
    """They are read where rows are padded."""
    assert _pairs("transformer", detailed=True, compiled=compiled) < 1e-10


@pytest.mark.parametrize("name", ["transformer", "rnd_share"])
def test_compiled_pairs(compiles, name):
    assert _pairs(name, compiled=True) < 1e-6  # the eager loss is summed in float32
