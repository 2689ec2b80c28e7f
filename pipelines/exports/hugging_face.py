"""Encoder-decoders as classes of `transformers`: Marian, Pegasus, EncoderDecoder.

| ours | theirs |
|---|---|
| ``transformer``, post-norm | `MarianMTModel` |
| ``transformer``, pre-norm | `PegasusForConditionalGeneration` |
| ``bert2bert`` | `EncoderDecoderModel` of two BERTs |

Their sinusoidal positions have all sines first, ours a sine beside each cosine, and their
`save_pretrained` leaves positions out. So the dimensions of the residual stream change places:
positions made anew are the right ones too. Their LayerNorm adds 1e-5 to a variance, BERT's and ours
1e-12: logits of Marian and Pegasus differ from ours by that.

Shapes: D width, P positions, V vocabulary.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pipelines.formats.bert.names import hugging_face_name
from pipelines.formats.vocabulary.special_tokens import END, PAD, START
from pipelines.models import bert2bert, transformer
from pipelines.models.protocol.model import Seq2SeqModel
from pipelines.models.protocol.params import ArchitectureParams
from pipelines.models.protocol.registry import build_model, schema_of

# Of a block: ours → Marian's and Pegasus'.
LAYER = {
    "attention.query": "self_attn.q_proj",
    "attention.key": "self_attn.k_proj",
    "attention.value": "self_attn.v_proj",
    "attention.output": "self_attn.out_proj",
    "attention_norm": "self_attn_layer_norm",
    "cross_attention.query": "encoder_attn.q_proj",
    "cross_attention.key": "encoder_attn.k_proj",
    "cross_attention.value": "encoder_attn.v_proj",
    "cross_attention.output": "encoder_attn.out_proj",
    "cross_attention_norm": "encoder_attn_layer_norm",
    "feed_forward.inner": "fc1",
    "feed_forward.outer": "fc2",
    "feed_forward_norm": "final_layer_norm",
}
_READ_STREAM = ("query", "key", "value", "inner")  # the others of a block's maps write to it


@dataclass(frozen=True)
class Exported:
    """A model in the layout of `transformers`.

    Attributes:
        architecture: its class there.
        config: what becomes ``config.json``.
        tensors: what becomes ``model.safetensors``.
    """

    architecture: str
    config: dict[str, Any]
    tensors: dict[str, Tensor]


@dataclass(frozen=True)
class _Place:
    """Where one tensor of ours stands in theirs.

    Attributes:
        ours: name of a parameter.
        theirs: name.
        axis: of the residual stream; None where it has none.
    """

    ours: str
    theirs: str
    axis: int | None = None


def architecture_of(params: ArchitectureParams) -> str | None:
    """The class of `transformers` that a model of these params becomes; None if there is none."""
    if isinstance(params, transformer.Params):
        post = params.norm == "post"
        return "MarianMTModel" if post else "PegasusForConditionalGeneration"
    return "EncoderDecoderModel" if isinstance(params, bert2bert.Params) else None


@torch.no_grad()
def exported(model: Seq2SeqModel, params: ArchitectureParams) -> Exported:
    """A model in the layout of `architecture_of` its params.

    Raises:
        ValueError: there is none.
    """
    if (architecture := architecture_of(params)) is None:
        raise ValueError(f"family ({params.family}) has no class in transformers")
    own = dict(model.named_parameters(remove_duplicate=False))
    tensors = {}
    for place in _places(params, own):
        tensor = own[place.ours].detach().cpu()
        if place.axis is not None:
            tensor = tensor.index_select(place.axis, _order(params))
        tensors[place.theirs] = tensor.clone()
    if isinstance(params, transformer.Params):
        tensors["final_logits_bias"] = tensors["final_logits_bias"][None]
        tensors |= _sinusoids(model, params)
    elif isinstance(params, bert2bert.Params):  # their encoder has a pooler that nobody asks
        width = params.width
        tensors["encoder.pooler.dense.weight"] = torch.zeros(width, width)
        tensors["encoder.pooler.dense.bias"] = torch.zeros(width)
    config = _config_of(params, len(own["output.weight"]))
    return Exported(architecture, {"architectures": [architecture], **config}, tensors)


@torch.no_grad()
def restored(file: Path, tensors: Mapping[str, Tensor]) -> Seq2SeqModel:
    """Our network of a model that `exported` laid out, in evaluation mode.

    Args:
        file: the description that the training wrote.
        tensors: of its ``model.safetensors``.

    Raises:
        OSError, ValueError, KeyError, RuntimeError: they do not fit the description.
    """
    description = json.loads(file.read_text(encoding="utf-8"))
    block = description["architecture"]
    params = schema_of(block["family"]).model_validate_json(json.dumps(block))
    model = build_model(params, description["vocab_size"])
    own = dict(model.named_parameters(remove_duplicate=False))
    plain = architecture_of(params) is None  # saved as it is: tied tensors once
    for place in _places(params, dict(model.named_parameters()) if plain else own):
        tensor = tensors[place.theirs]
        if place.axis is not None:
            tensor = tensor.index_select(place.axis, _order(params).argsort())
        own[place.ours].copy_(tensor.view(own[place.ours].shape))
    return model.eval()


def _order(params: ArchitectureParams) -> Tensor:
    """The place in ours of each dimension of theirs: sines, then cosines."""
    assert isinstance(params, transformer.Params)
    if params.positions == "learned":
        return torch.arange(params.width)
    return torch.arange(params.width).view(-1, 2).T.flatten()


def _places(params: ArchitectureParams, names: Iterable[str]) -> Iterator[_Place]:
    """Where parameters of these names stand; of tied ones, each of their names."""
    if isinstance(params, transformer.Params):
        return _places_of_transformer(params)
    if isinstance(params, bert2bert.Params):
        return places_of_berts(names)
    return (_Place(name, name) for name in names)


def _places_of_transformer(params: transformer.Params) -> Iterator[_Place]:
    sides = {"encoder": params.num_encoder_layers, "decoder": params.num_decoder_layers}
    for side, num_layers in sides.items():
        yield _Place(f"{side}.embeddings.token.weight", f"model.{side}.embed_tokens.weight", 1)
        if params.positions == "learned":
            yield _Place(
                f"{side}.embeddings.position.weight", f"model.{side}.embed_positions.weight", 1
            )
        for number in range(num_layers):
            for ours, theirs in LAYER.items():
                if side == "encoder" and ours.startswith("cross"):
                    continue
                reads = ours.endswith(_READ_STREAM)
                for kind in ("weight", "bias"):
                    axis = 1 if reads and kind == "weight" else None if reads else 0
                    yield _Place(
                        f"{side}.blocks.{number}.{ours}.{kind}",
                        f"model.{side}.layers.{number}.{theirs}.{kind}",
                        axis,
                    )
        if params.norm == "pre":
            for kind in ("weight", "bias"):
                yield _Place(f"{side}.norm.{kind}", f"model.{side}.layer_norm.{kind}", 0)
    if params.tied == "all" or params.norm == "pre":
        yield _Place("encoder.embeddings.token.weight", "model.shared.weight", 1)
    yield _Place("output.weight", "lm_head.weight", 1)
    yield _Place("output_bias", "final_logits_bias")


def _sinusoids(model: Seq2SeqModel, params: transformer.Params) -> dict[str, Tensor]:
    if params.positions == "learned":
        return {}
    found = {}
    for side in ("encoder", "decoder"):
        embeddings: Any = model.get_submodule(f"{side}.embeddings")
        table_PD = embeddings.table_PD.index_select(1, _order(params))
        found[f"model.{side}.embed_positions.weight"] = table_PD.clone()
    return found


def places_of_berts(names: Iterable[str]) -> Iterator[_Place]:
    """Where the parameters of a ``bert2bert`` stand in an `EncoderDecoderModel`."""
    for name in names:
        side, _, inner = name.partition(".")
        if side == "mlm_transform":
            side, inner = "decoder", name
        if side not in ("encoder", "decoder"):
            continue
        theirs = hugging_face_name(inner.replace("cross_attention", "attention"))
        if "cross_attention" in inner:
            theirs = theirs.replace("attention", "crossattention", 1)
        theirs = theirs.removeprefix("bert.") if side == "encoder" else theirs
        yield _Place(name, f"{side}.{theirs}")
    yield _Place("output.weight", "decoder.cls.predictions.decoder.weight")
    for theirs in ("bias", "decoder.bias"):
        yield _Place("output_bias", f"decoder.cls.predictions.{theirs}")


def _config_of(params: ArchitectureParams, vocab_size: int) -> dict[str, Any]:
    if isinstance(params, transformer.Params):
        return _config_of_transformer(params, vocab_size)
    assert isinstance(params, bert2bert.Params)
    return _config_of_berts(params, vocab_size)


def _config_of_transformer(params: transformer.Params, vocab_size: int) -> dict[str, Any]:
    config: dict[str, Any] = {
        "model_type": "marian" if params.norm == "post" else "pegasus",
        "vocab_size": vocab_size,
        "decoder_vocab_size": vocab_size,
        "d_model": params.width,
        "activation_function": params.activation,
        "dropout": params.dropout,
        "attention_dropout": params.attention_dropout,
        "activation_dropout": 0.0,
        "max_position_embeddings": params.max_positions,
        "scale_embedding": True,
        "share_encoder_decoder_embeddings": params.tied == "all",
        "tie_word_embeddings": params.tied == "all",
    }
    sides = {"encoder": params.num_encoder_layers, "decoder": params.num_decoder_layers}
    for side, num_layers in sides.items():
        config |= {
            f"{side}_layers": num_layers,
            f"{side}_attention_heads": params.num_heads,
            f"{side}_ffn_dim": params.feed_forward_width,
            f"{side}_layerdrop": 0.0,
        }
    return config | TOKENS | {"forced_eos_token_id": None}


def _config_of_berts(params: bert2bert.Params, vocab_size: int) -> dict[str, Any]:
    bert = {
        "model_type": "bert",
        "vocab_size": vocab_size,
        "hidden_size": params.width,
        "num_hidden_layers": params.num_layers,
        "num_attention_heads": params.num_heads,
        "intermediate_size": params.feed_forward_width,
        "max_position_embeddings": params.max_positions,
        "hidden_dropout_prob": params.dropout,
        "attention_probs_dropout_prob": params.attention_dropout,
        "pad_token_id": PAD,
    }
    return {
        "model_type": "encoder-decoder",
        "is_encoder_decoder": True,
        "encoder": bert,
        "decoder": bert | {"is_decoder": True, "add_cross_attention": True},
        "vocab_size": vocab_size,
        "tie_word_embeddings": False,
        **TOKENS,
    }


TOKENS = {
    "pad_token_id": PAD, "bos_token_id": START, "eos_token_id": END, "decoder_start_token_id": START
}  # fmt: skip
