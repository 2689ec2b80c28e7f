"""A trained model on disk: weights, and what is needed to build the network again."""

import json
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from pipelines.frame.errors import CheckpointError
from pipelines.frame.files import write_json
from pipelines.models.protocol.model import Seq2SeqModel
from pipelines.models.protocol.params import ArchitectureParams
from pipelines.models.protocol.registry import build_model, schema_of

MODEL_FILE, WEIGHTS_FILE = "model.json", "model.safetensors"


def save(model: Seq2SeqModel, params: ArchitectureParams, vocab_size: int, folder: Path) -> None:
    """``model.json`` and ``model.safetensors``."""
    description = {"vocab_size": vocab_size, "architecture": json.loads(params.model_dump_json())}
    write_json(folder / MODEL_FILE, description)
    # Not safetensors' save_model: which name of a tied tensor it keeps depends on PYTHONHASHSEED.
    weights = {
        name: parameter.detach().cpu().contiguous() for name, parameter in model.named_parameters()
    }
    save_file(weights, folder / WEIGHTS_FILE, metadata={"format": "pt"})


def load(folder: Path) -> Seq2SeqModel:
    """The network of a model folder, in evaluation mode.

    Raises:
        CheckpointError: the folder is incomplete or damaged.
    """
    try:
        description = json.loads((folder / MODEL_FILE).read_text(encoding="utf-8"))
        block = description["architecture"]
        params = schema_of(block["family"]).model_validate_json(json.dumps(block))
        model = build_model(params, description["vocab_size"])
        _fill(model, load_file(folder / WEIGHTS_FILE))
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(
            f"{folder}: cannot be loaded ({error}); run dvc repro seq2seq@{folder.name}"
        ) from None
    return model.eval()


@torch.no_grad()
def _fill(model: Seq2SeqModel, weights: dict[str, Tensor]) -> None:
    """Copy saved weights; tied tensors were saved once,
    under the name `named_parameters` gives them.
    """
    parameters = dict(model.named_parameters())
    if parameters.keys() != weights.keys():
        raise ValueError(
            f"weights {sorted(parameters.keys() ^ weights.keys())} are missing or unknown"
        )
    for name, parameter in parameters.items():
        parameter.copy_(weights[name])
