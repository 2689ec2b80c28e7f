"""Starting an encoder-decoder from a pretrained BERT."""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from pipelines.formats.bert.names import hugging_face_name
from pipelines.formats.vocabulary.files import read_vocabulary
from pipelines.frame.errors import CheckpointError
from pipelines.frame.files import digest
from pipelines.models.protocol.model import Seq2SeqModel


@torch.no_grad()
def start_from_bert(model: Seq2SeqModel, folder: Path, tokenizer: Path) -> int:
    """Copy every weight the model shares with a BERT in the Hugging Face format.

    Args:
        model: of the checkpoint's sizes.
        folder: ``model.safetensors`` and ``vocab.txt``.
        tokenizer: folder of the model's vocabulary, which must be the checkpoint's.

    Returns:
        How many parameters (numbers) were copied.

    Raises:
        CheckpointError: the vocabularies differ, the model shares no weight, or the checkpoint lacks a tensor or has
            another shape.
    """
    ours, theirs = read_vocabulary(tokenizer), read_vocabulary(folder)
    if ours[: len(theirs)] != theirs:
        raise CheckpointError(
            f"{folder}/vocab.txt: its vocabulary ({digest(theirs)[:12]}) must be {tokenizer}'s ({digest(ours)[:12]}), "
            "but for tokens added at its end; run dvc repro bert, or set tokenizer.vocabulary_from to this BERT"
        )
    path = folder / "model.safetensors"
    try:
        weights = load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error}); run dvc repro bert") from None
    names = model.bert_names()
    if not names:
        raise CheckpointError(f"{type(model).__module__}: cannot start from a BERT; set starts_from: data/shards")
    parameters = dict(model.named_parameters())
    for own, name in names.items():
        given = weights.get(hugging_face_name(name))
        if given is not None and len(given) == len(theirs) < len(parameters[own]) == len(ours):
            given = torch.cat([given, parameters[own][len(theirs) :]])  # rows of added tokens stay random
        if given is None or given.shape != parameters[own].shape:
            found = "missing" if given is None else tuple(given.shape)
            raise CheckpointError(
                f"{path}: {hugging_face_name(name)} ({found}) must have the shape {tuple(parameters[own].shape)}; "
                "give the architecture the sizes of bert.model"
            )
        parameters[own].copy_(given)
    return sum(parameters[own].numel() for own in names)
