"""A Transformer for CTranslate2 (https://github.com/OpenNMT/CTranslate2), with its tokenizer.

    python -m pipelines.exports.ctranslate2 --arch transformer --out served

The folder takes what its tokenizer gives: pieces between [CLS] and [SEP]. CTranslate2 adds neither
of them, so none can stand there twice. What is written is read again and must give our
translations the same log-probabilities.
"""

import argparse
import math
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pipelines.decoding.forced_decoding import log_probabilities
from pipelines.decoding.params import DecodingParams
from pipelines.exports.portable_tokenizer import save_portable
from pipelines.exports.quantization import QUANTIZATIONS, TOLERANCE
from pipelines.formats.corpus.files import pair_file, read_lines
from pipelines.formats.tokenizer.tokenizer import SubwordTokenizer
from pipelines.formats.vocabulary.files import read_vocabulary
from pipelines.formats.vocabulary.special_tokens import CLS, END, SEP, SPECIAL_TOKENS, UNK
from pipelines.frame.errors import CheckFailed, DataError, broken_rule, exit_code
from pipelines.frame.params_reader import ParamsFile, read_params, validate
from pipelines.models.protocol.files import load
from pipelines.models.protocol.model import Seq2SeqModel
from pipelines.models.protocol.sources import sources
from pipelines.nn.transformer.attention import MultiHeadAttention
from pipelines.nn.transformer.blocks import DecoderBlock, EncoderBlock

MODELS, TOKENIZER, CORPUS = Path("data/seq2seq"), Path("data/tokenizer"), Path("data/corpus")
_CHECKED = 64  # sentences
# Its search goes on until so many times the beam have ended, which comes close to our exact rule:
# of 400 sentences 378 are translated alike with 1, 399 with 2, all with 3.
_PATIENCE = 3
USE = """\
import ctranslate2
from tokenizers import Tokenizer
model, tokenizer = ctranslate2.Translator("."), Tokenizer.from_file("tokenizer.json")
tokenizer.encode_special_tokens = True  # [SEP] in a text is text
pieces = tokenizer.encode({text!r}).tokens  # with [CLS] and [SEP], once
best = model.translate_batch([pieces], beam_size={beam_size}, patience={patience},
    length_penalty={strength}, min_decoding_length={least}, max_decoding_length={most}{more})[0]
print(tokenizer.decode([tokenizer.token_to_id(piece) for piece in best.hypotheses[0]]))
"""


@dataclass(frozen=True)
class Agreement:
    """What an exported model makes of sentences that ours has read.

    Attributes:
        sentences: how many.
        difference: largest, of a sentence's log-probability, in nats a token.
    """

    sentences: int
    difference: float


def to_ctranslate2(
    model: Seq2SeqModel, vocabulary: Sequence[str], folder: Path, quantization: str = "float32"
) -> None:
    """Write a CTranslate2 model.

    Args:
        model: of family ``transformer``.
        vocabulary: tokens in the order of their ids.
        folder: is made; must not be there.
        quantization: of the weights, one of `QUANTIZATIONS`.

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
    config.add_source_bos = config.add_source_eos = False  # the tokenizer does
    spec.validate()
    spec.optimize(quantization=None if quantization == "float32" else quantization)
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
    """A copy: the library quantizes arrays where they lie."""
    return tensor.detach().float().numpy().copy()


def agreement(
    model: Seq2SeqModel,
    vocabulary: Sequence[str],
    folder: Path,
    pairs: Sequence[tuple[Sequence[int], Sequence[int]]],
) -> Agreement:
    """Log-probabilities of targets in an exported model beside those in ours.

    Args:
        model: that was exported.
        vocabulary: tokens in the order of their ids.
        folder: the exported one's.
        pairs: tokens of sources and targets, special ones apart.
    """
    import ctranslate2

    translator = ctranslate2.Translator(str(folder), device="cpu")
    if not (kept := [(source, target) for source, target in pairs if source and target]):
        return Agreement(0, math.inf)
    words = [
        [[vocabulary[token] for token in side] for side in ([CLS, *source, SEP], target)]
        for source, target in kept
    ]
    found = translator.score_batch([one for one, _ in words], [other for _, other in words])
    theirs = [sum(one.log_probs) for one in found]
    source_BS, lengths_B = sources([torch.tensor(source).numpy() for source, _ in kept])
    ours = log_probabilities(model, source_BS, lengths_B, [[*target, END] for _, target in kept])
    differences = [
        abs(one - other) / (len(target) + 1)
        for one, other, (_, target) in zip(ours, theirs, kept, strict=True)
    ]
    odd = any(map(math.isnan, differences))  # `max` may pass over what is no number
    return Agreement(len(kept), math.inf if odd else max(differences))


def require_agreement(found: Agreement, folder: Path, quantization: str) -> None:
    """Refuse an export that does not say what our model says.

    Raises:
        CheckFailed: it does not.
    """
    if not found.difference <= TOLERANCE[quantization]:
        raise CheckFailed(
            f"{folder}: log-probabilities differ from ours by {found.difference:.3g} nats a token; "
            f"they must by at most {TOLERANCE[quantization]} in {quantization}; do not use it"
        )


def export(name: str, folder: Path, quantization: str = "float32") -> Agreement:
    """Model, tokenizer and README of an architecture in data/seq2seq, held against ours.

    Raises:
        DataError: CTranslate2 has no such layout, or the folder is there already.
        CheckpointError: the model is damaged.
        CheckFailed: the export does not say what our model says.
    """
    if folder.exists():
        rule, remedy = "not be there yet", "name another or remove it"
        raise DataError(broken_rule("export", "folder", str(folder), rule, remedy))
    params, model, vocabulary = read_params(), load(MODELS / name), read_vocabulary(TOKENIZER)
    tokenizer = SubwordTokenizer.load(TOKENIZER)
    languages = [str(params.get(f"corpus.{side}_language")) for side in ("source", "target")]
    source, target = (read_lines(pair_file(CORPUS, "test", one))[:_CHECKED] for one in languages)
    room = (model.longest_source or 1024) - 2
    tokens = zip(tokenizer.encode(source), tokenizer.encode_targets(target), strict=True)
    pairs = [(given[:room], wanted[:room]) for given, wanted in tokens]
    work = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(work, ignore_errors=True)
    try:
        to_ctranslate2(model, vocabulary, work, quantization)
        found = agreement(model, vocabulary, work, pairs)
        require_agreement(found, folder, quantization)
        save_portable(TOKENIZER, work, model.longest_source)
        use = _use(params, min(filter(None, source), key=len))
        (work / "README.md").write_text(
            f"# {name} for CTranslate2, {quantization}\n\n{' → '.join(languages)}. In this folder, "
            "with `pip install ctranslate2 tokenizers`:\n\n"
            f"```python\n{use}```\n\nOn {found.sentences} sentences of the test set its "
            f"log-probabilities differ from the original's by {found.difference:.1e} nats a token "
            f"at most. Sources are cut at {model.longest_source} tokens.\n",
            encoding="utf-8",
        )
        work.rename(folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return found


def _use(params: ParamsFile, text: str) -> str:
    decoding = validate(params, "decoding", DecodingParams)
    return USE.format(
        text=text, beam_size=decoding.beam_size, least=decoding.min_length,
        most=decoding.max_length,
        more=f", no_repeat_ngram_size={decoding.no_repeat}" if decoding.no_repeat else "",
        strength=decoding.score.strength if decoding.score.name == "average" else 0.0,
        patience=_PATIENCE if decoding.stop.rule in ("exact", "never") else 1,
    )  # fmt: skip


def main(given: Sequence[str] | None = None) -> int:
    """Export the model named on the command line.

    Raises:
        DataError: CTranslate2 is not installed.
    """
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.exports.ctranslate2",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--arch", required=True, help="name in seq2seq.architectures")
    parser.add_argument("--out", required=True, type=Path, help="folder to write")
    parser.add_argument("--quantization", default="float32", choices=QUANTIZATIONS)
    options = parser.parse_args(given)
    try:
        found = export(options.arch, options.out, options.quantization)
    except ModuleNotFoundError as error:
        raise DataError(f"{error.name}: must be installed; pip install {error.name}") from None
    print(f"written to {options.out}; its README.md says how to use it")
    print(f"log-probabilities differ by {found.difference:.1e} nats a token at most from ours")
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
