"""BERT in the format of Hugging Face: saved so that `transformers` loads it as it is, and read to go on from."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from pipelines.formats.bert.names import hugging_face_name, to_hugging_face
from pipelines.formats.bert.params import BertModelParams
from pipelines.formats.vocabulary.files import read_vocabulary
from pipelines.formats.vocabulary.special_tokens import PAD
from pipelines.frame.errors import CheckpointError
from pipelines.frame.files import write_json
from pipelines.models.bert import BertEncoder

_TABLES = ("embeddings.token.weight", "mlm_bias")  # one row per token
_HEADS = ("pooler.", "mlm_", "nsp.", "classifier.")  # a checkpoint of the encoder alone lacks them


def save_pretrained(
    network: BertEncoder,
    params: BertModelParams,
    tokenizer: Path,
    folder: Path,
    *,
    architecture: str = "BertForPreTraining",
    config: Mapping[str, Any] | None = None,
) -> None:
    """``config.json``, ``model.safetensors`` and the tokenizer's files; rows that pad the vocabulary are left out.

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
    weights = to_hugging_face({name: x[:vocab_size] if name in _TABLES else x for name, x in state.items()})
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    for name in ("tokenizer.json", "vocab.txt"):
        shutil.copyfile(tokenizer / name, folder / name)
    settings = json.loads((tokenizer / "tokenizer_config.json").read_text(encoding="utf-8"))
    write_json(folder / "tokenizer_config.json", {**settings, "model_max_length": params.max_positions})


@torch.no_grad()
def load_pretrained(network: BertEncoder, folder: Path, tokenizer: Path) -> int:
    """Take over the weights of any BERT in the Hugging Face format.

    Rows of the vocabulary are found by their token, so the two vocabularies may differ in order and content; a token
    the checkpoint does not know keeps its random row, as do heads that are not in it.

    Args:
        network: of the checkpoint's sizes; at most as many positions.
        folder: ``model.safetensors`` and ``vocab.txt``.
        tokenizer: folder of the network's own vocabulary.

    Returns:
        How many parameters (numbers) were taken over.

    Raises:
        CheckpointError: a file is missing or damaged, a tensor is missing or has another shape, or no token is known.
        DataError: a vocabulary cannot be read.
    """
    path = folder / "model.safetensors"
    try:
        given = {_modern(name): tensor for name, tensor in load_file(path).items()}
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error}); put a Hugging Face BERT there") from None
    number = {token: row for row, token in enumerate(read_vocabulary(folder))}
    rows = [(own, number[token]) for own, token in enumerate(read_vocabulary(tokenizer)) if token in number]
    if not rows:
        raise CheckpointError(
            f"{folder}/vocab.txt: has no token of {tokenizer}/vocab.txt; take a BERT of the same language"
        )
    own_rows, given_rows = (torch.tensor(column) for column in zip(*rows, strict=True))
    taken = 0
    for name, parameter in network.named_parameters():
        tensor = given.get(hugging_face_name(name))
        if tensor is None and name.startswith(_HEADS):
            continue
        taken += _take(parameter, tensor, name, path, (own_rows, given_rows))
    return taken


def _take(parameter: Tensor, tensor: Tensor | None, name: str, path: Path, rows: tuple[Tensor, Tensor]) -> int:
    """Copy one tensor, or the part of it that is wanted; how many numbers."""
    if name == "embeddings.position.weight" and tensor is not None:
        tensor = tensor[: len(parameter)]
    width = None if tensor is None else tuple(tensor.shape[1:] if name in _TABLES else tensor.shape)
    wanted = tuple(parameter.shape[1:] if name in _TABLES else parameter.shape)
    if tensor is None or width != wanted or (name in _TABLES and int(rows[1].max()) >= len(tensor)):
        found = "missing" if tensor is None else tuple(tensor.shape)
        raise CheckpointError(
            f"{path}: {hugging_face_name(name)} ({found}) must fit {tuple(parameter.shape)}; "
            "give bert.model the sizes of its config.json"
        )
    if name in _TABLES:
        parameter[rows[0]] = tensor[rows[1]].to(parameter.dtype)
        return len(rows[0]) * parameter[0].numel()
    parameter.copy_(tensor)
    return parameter.numel()


def _modern(name: str) -> str:
    """Names of early checkpoints (LayerNorm.gamma) and of bare encoders (no ``bert.``) as they are today."""
    name = name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")
    return f"bert.{name}" if name.startswith(("embeddings.", "encoder.", "pooler.")) else name
