"""Saving a BERT so that `transformers` loads it as it is."""

import json
import shutil
from pathlib import Path

from safetensors.torch import save_file

from pipelines.bert.model import Bert
from pipelines.bert.params import BertModelParams
from pipelines.layers.hugging_face import to_hugging_face
from pipelines.records import write_json
from pipelines.tokenizer.special_tokens import PAD


def save_pretrained(bert: Bert, params: BertModelParams, tokenizer: Path, folder: Path) -> None:
    """``config.json``, ``model.safetensors`` and the tokenizer's files."""
    vocab_size = bert.embeddings.token.num_embeddings
    write_json(
        folder / "config.json",
        {
            "architectures": ["BertForPreTraining"],
            "model_type": "bert",
            "vocab_size": vocab_size,
            "hidden_size": params.width,
            "num_hidden_layers": params.num_layers,
            "num_attention_heads": params.num_heads,
            "intermediate_size": params.feed_forward_width,
            "hidden_act": "gelu",
            "hidden_dropout_prob": params.dropout,
            "attention_probs_dropout_prob": params.dropout,
            "max_position_embeddings": params.max_positions,
            "type_vocab_size": 2,
            "initializer_range": params.initializer_range,
            "layer_norm_eps": 1e-12,
            "pad_token_id": PAD,
            "tie_word_embeddings": True,
        },
    )
    weights = to_hugging_face({name: tensor.cpu() for name, tensor in bert.state_dict().items()})
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    for name in ("tokenizer.json", "vocab.txt"):
        shutil.copyfile(tokenizer / name, folder / name)
    config = json.loads((tokenizer / "tokenizer_config.json").read_text(encoding="utf-8"))
    write_json(folder / "tokenizer_config.json", {**config, "model_max_length": params.max_positions})
