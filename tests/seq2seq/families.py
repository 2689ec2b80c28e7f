"""Small blocks of every family, for tests that hold for all of them."""

from typing import Any

import torch

from pipelines.seq2seq.models import build_model, schema_of
from pipelines.seq2seq.models.protocol import Seq2SeqModel

_TRANSFORMER = {"width": 16, "num_heads": 2, "feed_forward_width": 24, "max_positions": 64}
_RECURRENT = {"family": "recurrent", "layers": "recurrent", "width": 16}
BLOCKS: dict[str, dict[str, Any]] = {
    "gru": {**_RECURRENT, "attention": "none", "num_layers": 1},
    "gru_two_layers": {**_RECURRENT, "attention": "none", "num_layers": 2},
    "gru_attention": {**_RECURRENT, "attention": "additive", "num_layers": 1},
    "gru_attention_two_layers": {**_RECURRENT, "attention": "additive", "num_layers": 2},
    "transformer": {
        **_TRANSFORMER,
        "family": "transformer",
        "layers": "transformer",
        "num_encoder_layers": 2,
        "num_decoder_layers": 1,
    },
    "rnd2rnd": {
        **_TRANSFORMER,
        "family": "bert2bert",
        "layers": "transformer",
        "num_layers": 2,
        "initializer_range": 0.3,
    },
}


def build(name: str, vocab_size: int = 20, seed: int = 0, *, double: bool = True) -> Seq2SeqModel:
    """A model with random weights, in evaluation mode."""
    torch.manual_seed(seed)
    block = {**BLOCKS[name], "starts_from": "data/shards", "dropout": 0.0, "learning_rate": 0.01}
    model = build_model(schema_of(block["family"])(**block), vocab_size).eval()
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.5)
    return model.double() if double else model
