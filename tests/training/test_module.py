"""An update is the same however its batch is cut: micro-batches against the whole, normalised by
all its terms.
"""

import lightning.pytorch as lightning
import pytest
import torch
from torch.utils.data import DataLoader

from pipelines.bert.data import DocumentSplit, PretrainingBatches
from pipelines.bert.module import Baselines, BertPretraining
from pipelines.models.bert import Bert
from pipelines.training.positions import Batches, Position
from pipelines.training.update import layer_of
from tests.bert.sample import bert_params, two_languages


def _weights_after(
    updates: int, micro_batch_size: int, *, packed: bool
) -> tuple[dict[str, torch.Tensor], dict]:
    params = bert_params(segments={"packed": packed}, training={"gradient_clip": 0.5})
    torch.manual_seed(0)
    bert = Bert(params.model, 300).double()
    batches = PretrainingBatches(DocumentSplit(two_languages(), 1, "t", 0.15, 300), params)
    module = BertPretraining(
        bert, params, [], Baselines(0.0, 5.0, 5.0, 0.5), micro_batch_size=micro_batch_size
    )
    trainer = lightning.Trainer(
        max_steps=updates,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    loader = DataLoader(
        Batches(batches, Position(0, 0, 0), updates),
        batch_size=None,
        collate_fn=lambda batch: batch,
    )
    trainer.fit(module, loader)
    return {
        name: parameter.detach() for name, parameter in bert.named_parameters()
    }, module.meter.read()


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("micro_batch_size", [1, 3])
def test_micro_batches_give_the_update_of_the_whole_batch(micro_batch_size, packed):
    """Not the mean of the parts' means: rows have different numbers of masked tokens and, packed,
    of pairs.
    """
    whole, measured = _weights_after(4, 0, packed=packed)
    parts, again = _weights_after(4, micro_batch_size, packed=packed)
    for name in whole:
        # the output layer works in float32
        torch.testing.assert_close(parts[name], whole[name], atol=1e-6, rtol=0)
    assert again == pytest.approx(measured, abs=1e-6)


def test_layer_of_names_blocks_and_whole_parts():
    assert layer_of("blocks.3.attention.query.weight") == "blocks.3"
    assert layer_of("encoder.blocks.11.feed_forward.inner.bias") == "encoder.blocks.11"
    assert layer_of("embeddings.token.weight") == "embeddings"
    assert layer_of("mlm_bias") == "mlm_bias"
