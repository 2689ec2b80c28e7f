"""Saving a BERT so that `transformers` loads it as it is."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from safetensors.torch import save_file

from pipelines.formats.bert.names import VOCABULARY_TABLES, to_hugging_face
from pipelines.formats.vocabulary.special_tokens import PAD
from pipelines.frame.files import write_json
from pipelines.nn.transformer.params import BertModelParams


class Encoder(Protocol):
    """What is saved: see `pipelines.models.bert.BertEncoder`."""

    vocab_size: int

    def state_dict(self) -> dict[str, Any]:
        """Name → tensor."""
        ...


def save_pretrained(
    network: Encoder,
    params: BertModelParams,
    tokenizer: Path,
    folder: Path,
    *,
    architecture: str = "BertForPreTraining",
    config: Mapping[str, Any] | None = None,
) -> None:
    """``config.json``, ``model.safetensors`` and the tokenizer's files;
    rows that pad the vocabulary are left out.

    Args:
        network: encoder and heads.
        params: its sizes.
        tokenizer: folder of its vocabulary.
        folder: where to.
        architecture: class of `transformers` with these heads.
        config: what that class wants in its configuration besides.
    """
    vocab_size = network.vocab_size
    write_json(
        folder / "config.json",
        {
            "architectures": [architecture],
            "model_type": "bert",
            "vocab_size": vocab_size,
            "hidden_size": params.width,
            "num_hidden_layers": params.num_layers,
            "num_attention_heads": params.num_heads,
            "intermediate_size": params.feed_forward_width,
            "hidden_act": "gelu",
            "hidden_dropout_prob": params.dropout,
            "attention_probs_dropout_prob": params.attention_dropout,
            "max_position_embeddings": params.max_positions,
            "type_vocab_size": 2,
            "initializer_range": params.initializer_range,
            "layer_norm_eps": 1e-12,
            "pad_token_id": PAD,
            "tie_word_embeddings": True,
            **(config or {}),
        },
    )
    state = {name: tensor.cpu() for name, tensor in network.state_dict().items()}
    weights = to_hugging_face(
        {name: x[:vocab_size] if name in VOCABULARY_TABLES else x for name, x in state.items()}
    )
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    for name in ("tokenizer.json", "vocab.txt"):
        shutil.copyfile(tokenizer / name, folder / name)
    settings = json.loads((tokenizer / "tokenizer_config.json").read_text(encoding="utf-8"))
    write_json(
        folder / "tokenizer_config.json", {**settings, "model_max_length": params.max_positions}
    )
