"""Reading any BERT in the format of Hugging Face: to go on from,
or to start an encoder-decoder with.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from pipelines.formats.bert.names import VOCABULARY_TABLES, hugging_face_name
from pipelines.formats.vocabulary.files import read_vocabulary
from pipelines.frame.errors import CheckpointError

_HEADS = ("pooler.", "mlm_", "nsp.", "classifier.")  # a checkpoint of the encoder alone lacks them


@torch.no_grad()
def load_pretrained(
    network: nn.Module, folder: Path, tokenizer: Path, names: Mapping[str, str] | None = None
) -> int:
    """Take over the weights of any BERT in the Hugging Face format.

    Rows of the vocabulary are found by their token, so the two vocabularies may differ in order and
    content; a token the checkpoint does not know keeps its random row, as do heads that are not in
    it.

    Args:
        network: of the checkpoint's sizes; at most as many positions.
        folder: ``model.safetensors`` and ``vocab.txt``.
        tokenizer: folder of the network's own vocabulary.
        names: the network's parameters that are to be taken over → their names in
            `pipelines.models.bert.Bert`; None where it has these names itself.

    Returns:
        How many parameters (numbers) were taken over.

    Raises:
        CheckpointError: a file is missing or damaged, a tensor is missing or has another shape, or
            no token is known.
        DataError: a vocabulary cannot be read.
    """
    path = folder / "model.safetensors"
    try:
        given = {_modern(name): tensor for name, tensor in load_file(path).items()}
    except (OSError, SafetensorError) as error:
        remedy = "put a Hugging Face BERT there, or run dvc repro bert"
        raise CheckpointError(f"{path}: cannot be read ({error}); {remedy}") from None
    number = {token: row for row, token in enumerate(read_vocabulary(folder))}
    rows = [
        (own, number[token])
        for own, token in enumerate(read_vocabulary(tokenizer))
        if token in number
    ]
    if not rows:
        raise CheckpointError(
            f"{folder}/vocab.txt: has no token of {tokenizer}/vocab.txt; take a BERT of the same "
            "language"
        )
    own_rows, given_rows = (torch.tensor(column) for column in zip(*rows, strict=True))
    taken = 0
    for own, parameter in network.named_parameters():
        name = own if names is None else names.get(own)
        if name is None:
            continue
        tensor = given.get(hugging_face_name(name))
        if tensor is None and name.startswith(_HEADS):
            continue
        taken += _take(parameter, tensor, name, path, (own_rows, given_rows))
    return taken


def _take(
    parameter: Tensor, tensor: Tensor | None, name: str, path: Path, rows: tuple[Tensor, Tensor]
) -> int:
    """Copy one tensor, or the part of it that is wanted; how many numbers."""
    if name == "embeddings.position.weight" and tensor is not None:
        tensor = tensor[: len(parameter)]
    width = (
        None
        if tensor is None
        else tuple(tensor.shape[1:] if name in VOCABULARY_TABLES else tensor.shape)
    )
    wanted = tuple(parameter.shape[1:] if name in VOCABULARY_TABLES else parameter.shape)
    if (
        tensor is None
        or width != wanted
        or (name in VOCABULARY_TABLES and int(rows[1].max()) >= len(tensor))
    ):
        found = "missing" if tensor is None else tuple(tensor.shape)
        raise CheckpointError(
            f"{path}: {hugging_face_name(name)} ({found}) must fit {tuple(parameter.shape)}; give "
            "the network the sizes of its config.json"
        )
    if name in VOCABULARY_TABLES:
        parameter[rows[0]] = tensor[rows[1]].to(parameter.dtype)
        return len(rows[0]) * parameter[0].numel()
    parameter.copy_(tensor)
    return parameter.numel()


def _modern(name: str) -> str:
    """Names of early checkpoints (LayerNorm.gamma) and of bare encoders
    (no ``bert.``) as they are today.
    """
    name = name.replace("LayerNorm.gamma", "LayerNorm.weight").replace(
        "LayerNorm.beta", "LayerNorm.bias"
    )
    return f"bert.{name}" if name.startswith(("embeddings.", "encoder.", "pooler.")) else name
