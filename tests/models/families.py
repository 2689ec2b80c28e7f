"""Small blocks of every family, for tests that hold for all of them."""

from typing import Any

import torch

from pipelines.models.protocol.model import Seq2SeqModel
from pipelines.models.protocol.registry import build_model, schema_of

_TRANSFORMER = {
    "width": 16,
    "num_heads": 2,
    "feed_forward_width": 24,
    "attention_dropout": 0.0,
    "max_positions": 64,
}
_RECURRENT = {
    "family": "recurrent",
    "layers": "recurrent",
    "width": 16,
    "bidirectional": True,
    "bridge": "linear",
}
_CELLS: dict[str, dict[str, Any]] = {
    "rnn": {"name": "rnn"},
    "lstm": {"name": "lstm"},
    "gru": {"name": "gru", "reset_after": True},
    "textbook_gru": {"name": "gru", "reset_after": False},
}
PLAIN = {"r_drop": 0.0, "scheduled_sampling": 0.0}
BLOCKS: dict[str, dict[str, Any]] = {
    f"{cell}_{attention}" if attention != "none" else cell: {
        **_RECURRENT,
        "cell": block,
        "attention": attention,
        "num_layers": 2 if attention == "additive" else 1,
    }
    for cell, block in _CELLS.items()
    for attention in ("none", "additive", "dot", "general")
}
BLOCKS |= {
    "lstm_two_layers": {**BLOCKS["lstm"], "num_layers": 2},
    "lstm_one_way": {
        **BLOCKS["lstm_general"],
        "num_layers": 2,
        "bidirectional": False,
        "bridge": "last",
    },
    "gru_from_zero": {**BLOCKS["gru_additive"], "bridge": "zero"},
    "transformer": {
        **_TRANSFORMER,
        "family": "transformer",
        "layers": "transformer",
        "norm": "pre",
        "activation": "gelu",
        "positions": "sinusoidal",
        "tied": "all",
        "num_encoder_layers": 2,
        "num_decoder_layers": 1,
    },
    "rnd2rnd": {
        **_TRANSFORMER,
        "family": "bert2bert",
        "layers": "transformer",
        "encoder": "random",
        "decoder": "random",
        "pretrained_parts": "all",
        "shared": False,
        "pretrained_rate": 1.0,
        "frozen_updates": 0,
        "num_layers": 2,
        "initializer_range": 0.3,
    },
}
BLOCKS |= {
    "transformer_post": {
        **BLOCKS["transformer"],
        "norm": "post",
        "activation": "relu",
        "tied": "output",
    },
    "transformer_learned": {**BLOCKS["transformer"], "positions": "learned", "tied": "none"},
    "rnd_share": {**BLOCKS["rnd2rnd"], "shared": True},
}


def build(
    name: str, vocab_size: int = 20, seed: int = 0, *, double: bool = True, **changes: Any
) -> Seq2SeqModel:
    """A model with random weights, in evaluation mode."""
    torch.manual_seed(seed)
    block = {
        **BLOCKS[name],
        "starts_from": "data/shards",
        "dropout": 0.0,
        "learning_rate": 0.01,
        **PLAIN,
        **changes,
    }
    model = build_model(schema_of(block["family"])(**block), vocab_size).eval()
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.5)
    return model.double() if double else model
