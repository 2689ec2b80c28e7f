"""Give a trained model to another engine.

    python -m pipelines.translate.export --arch transformer --to ctranslate2 --out FOLDER

CTranslate2 (https://github.com/OpenNMT/CTranslate2), which must be installed, serves Transformers
from C++. The folder takes pieces of text, as `pipelines.tokenizer` splits them, and returns pieces;
it puts [CLS] and [SEP] around a source.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pipelines.formats.vocabulary.files import read_vocabulary
from pipelines.formats.vocabulary.special_tokens import CLS, SEP, SPECIAL_TOKENS, UNK
from pipelines.frame.errors import DataError, MasklineError, broken_rule
from pipelines.models.protocol.files import load
from pipelines.models.protocol.model import Seq2SeqModel
from pipelines.nn.transformer.attention import MultiHeadAttention
from pipelines.nn.transformer.blocks import DecoderBlock, EncoderBlock

MODELS, TOKENIZER = Path("data/seq2seq"), Path("data/tokenizer")


def to_ctranslate2(model: Seq2SeqModel, vocabulary: Sequence[str], folder: Path) -> None:
    """Write a CTranslate2 model.

    Args:
        model: of family ``transformer``.
        vocabulary: tokens in the order of their ids.
        folder: is made; must not be there.

    Raises:
        DataError: CTranslate2 has no such layout, or the folder is there already.
    """
    import ctranslate2
    from ctranslate2.specs import TransformerSpec
    from ctranslate2.specs.common_spec import Activation

    from pipelines.models.transformer import Model

    if not isinstance(model, Model):
        family = type(model).__module__.rpartition(".")[2]
        rule = (
            "be transformer: CTranslate2 has no recurrent cells, and no transform before BERT's "
            "output layer"
        )
        raise DataError(broken_rule("export", "family", family, rule, "export a transformer"))
    if folder.exists():
        raise DataError(
            broken_rule(
                "export", "folder", str(folder), "not be there yet", "name another or remove it"
            )
        )
    encoder, decoder = model.encoder, model.decoder
    shape = next(block for block in encoder.blocks)
    assert isinstance(shape, EncoderBlock)
    spec: Any = TransformerSpec.from_config(
        (len(encoder.blocks), len(decoder.blocks)),
        shape.attention.num_heads,
        pre_norm=shape.pre,
        activation=Activation.GELU
        if isinstance(shape.feed_forward.activation, nn.GELU)
        else Activation.RELU,
    )
    for side, ours in ((spec.encoder, encoder), (spec.decoder, decoder)):
        table = side.embeddings[0] if isinstance(side.embeddings, list) else side.embeddings
        table.weight = _array(ours.embeddings.token.weight)
        embeddings = ours.embeddings
        positions = embeddings.position.weight if embeddings.learned else embeddings.table_PD
        side.position_encodings.encodings = _array(positions)
        side.scale_embeddings = True
        if shape.pre:
            _norm(side.layer_norm, ours.norm)
        for layer, block in zip(side.layer, ours.blocks, strict=True):
            _block(layer, block)
    spec.decoder.projection.weight = _array(model.output.weight)
    spec.decoder.projection.bias = _array(model.output_bias)
    spec.register_source_vocabulary(list(vocabulary))
    spec.register_target_vocabulary(list(vocabulary))
    config = spec.config
    config.bos_token, config.eos_token, config.unk_token = (
        SPECIAL_TOKENS[token] for token in (CLS, SEP, UNK)
    )
    config.decoder_start_token = SPECIAL_TOKENS[CLS]
    config.layer_norm_epsilon = shape.attention_norm.eps
    config.add_source_bos = config.add_source_eos = True
    spec.validate()
    spec.optimize(quantization=None)
    folder.mkdir(parents=True)
    spec.save(str(folder))
    assert ctranslate2.contains_model(str(folder))


def _block(layer: Any, block: nn.Module) -> None:
    assert isinstance(block, EncoderBlock | DecoderBlock)
    _attention(layer.self_attention, block.attention, to_itself=True)
    _norm(layer.self_attention.layer_norm, block.attention_norm)
    if isinstance(block, DecoderBlock):
        _attention(layer.attention, block.cross_attention, to_itself=False)
        _norm(layer.attention.layer_norm, block.cross_attention_norm)
    _linear(layer.ffn.linear_0, block.feed_forward.inner)
    _linear(layer.ffn.linear_1, block.feed_forward.outer)
    _norm(layer.ffn.layer_norm, block.feed_forward_norm)


def _attention(spec: Any, ours: MultiHeadAttention, *, to_itself: bool) -> None:
    groups = (
        [[ours.query, ours.key, ours.value]]
        if to_itself
        else [[ours.query], [ours.key, ours.value]]
    )
    for layer, parts in zip(spec.linear, groups, strict=False):
        layer.weight = _array(torch.cat([part.weight for part in parts]))
        layer.bias = _array(torch.cat([part.bias for part in parts]))
    _linear(spec.linear[-1], ours.output)


def _linear(spec: Any, ours: nn.Linear) -> None:
    spec.weight, spec.bias = _array(ours.weight), _array(ours.bias)


def _norm(spec: Any, ours: nn.Module) -> None:
    assert isinstance(ours, nn.LayerNorm)
    spec.gamma, spec.beta = _array(ours.weight), _array(ours.bias)


def _array(tensor: torch.Tensor) -> Any:
    return tensor.detach().float().numpy()


def main(arguments: Sequence[str] | None = None) -> int:
    """Export the model named on the command line; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.translate.export",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--arch", required=True, help="name in seq2seq.architectures")
    parser.add_argument("--to", required=True, choices=["ctranslate2"], help="engine")
    parser.add_argument("--out", required=True, type=Path, help="folder to write")
    options = parser.parse_args(arguments)
    try:
        to_ctranslate2(load(MODELS / options.arch), read_vocabulary(TOKENIZER), options.out)
    except ModuleNotFoundError as error:
        print(f"error: {error.name} must be installed; pip install {error.name}", file=sys.stderr)
        return 2
    except MasklineError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(f"written to {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
