"""Model folders that others load: weights, settings, tokenizer."""

import json
import shutil
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from pipelines.decoding.params import DecodingParams
from pipelines.exports.hugging_face import TOKENS, architecture_of, exported, restored
from pipelines.exports.portable_tokenizer import save_portable
from pipelines.frame.errors import CheckpointError
from pipelines.frame.files import write_json
from pipelines.models.protocol.files import MODEL_FILE, WEIGHTS_FILE, load
from pipelines.models.protocol.model import Seq2SeqModel
from pipelines.models.protocol.params import ArchitectureParams
from pipelines.models.protocol.registry import schema_of

DESCRIPTION_FILE = "maskline.json"


def save_encoder_decoder(
    model: Path, tokenizer: Path, decoding: DecodingParams, folder: Path
) -> ArchitectureParams:
    """An encoder-decoder in the layout of `transformers` where it has one, else as it is.

    Args:
        model: folder that a training wrote.
        tokenizer: folder of its vocabulary.
        decoding: what ``generation_config.json`` says as far as `transformers` knows it.
        folder: where to; is there.

    Returns:
        What the model is made of.

    Raises:
        CheckpointError: the model cannot be read.
    """
    network = load(model)
    description = json.loads((model / MODEL_FILE).read_text(encoding="utf-8"))
    block = description["architecture"]
    params = schema_of(block["family"]).model_validate_json(json.dumps(block))
    write_json(folder / DESCRIPTION_FILE, description)
    save_portable(tokenizer, folder, network.longest_source)
    if architecture_of(params) is None:
        shutil.copyfile(model / WEIGHTS_FILE, folder / WEIGHTS_FILE)
        return params
    found = exported(network, params)
    write_json(folder / "config.json", found.config)
    write_json(folder / "generation_config.json", generation(decoding))
    save_file(found.tensors, folder / WEIGHTS_FILE, metadata={"format": "pt"})
    return params


def load_encoder_decoder(folder: Path) -> Seq2SeqModel:
    """Our network of a folder that `save_encoder_decoder` wrote, in evaluation mode.

    Raises:
        CheckpointError: it cannot be read.
    """
    try:
        return restored(folder / DESCRIPTION_FILE, load_file(folder / WEIGHTS_FILE))
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(
            f"{folder}: cannot be loaded ({error}); take a release's folder, and an encoder-decoder"
        ) from None


def generation(decoding: DecodingParams) -> dict[str, Any]:
    """Our search in the words of ``generation_config.json``: beams, length, the exact stop rule."""
    exact = decoding.stop.rule in ("exact", "never")
    return {
        "num_beams": decoding.beam_size,
        "do_sample": False,
        "length_penalty": decoding.score.strength if decoding.score.name == "average" else 0.0,
        "early_stopping": "never" if exact else decoding.stop.rule == "finished",
        "max_new_tokens": decoding.max_length,
        "min_new_tokens": max(0, decoding.min_length - 1),  # the end is none of theirs
        "no_repeat_ngram_size": decoding.no_repeat,
        **TOKENS,
    }
