"""Exported encoder-decoders in `transformers`: the same logits, and back again to the bit."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from pipelines.decoding.params import DecodingParams
from pipelines.exports.folders import load_encoder_decoder, save_encoder_decoder
from pipelines.exports.hugging_face import architecture_of, exported, restored
from pipelines.frame.params_reader import read_params, validate
from pipelines.models.protocol.files import load
from pipelines.models.protocol.model import Seq2SeqModel
from pipelines.models.protocol.params import ArchitectureParams
from pipelines.models.protocol.registry import schema_of
from tests.models.families import BLOCKS, PLAIN, build

V = 20
SOURCE = torch.randint(5, V, (3, 8), generator=torch.Generator().manual_seed(1))
LENGTHS = torch.tensor([8, 3, 5])
INPUTS = torch.randint(5, V, (3, 6), generator=torch.Generator().manual_seed(2))
CASES: list[tuple[str, dict[str, Any]]] = [
    ("transformer", {}),
    ("transformer", {"tied": "output"}),
    ("transformer_post", {}),
    ("transformer_post", {"tied": "all", "activation": "gelu", "num_decoder_layers": 2}),
    ("transformer_post", {"tied": "none"}),
    ("transformer_learned", {}),
    ("transformer_post", {"positions": "learned"}),
    ("rnd2rnd", {}),
    ("rnd_share", {}),
]


def _params(name: str, changes: dict[str, Any]) -> ArchitectureParams:
    block = {
        **BLOCKS[name], "starts_from": "data/shards", "dropout": 0.0, "learning_rate": 0.01,
        **PLAIN, **changes,
    }  # fmt: skip
    return schema_of(block["family"])(**block)


def _written(model: Seq2SeqModel, params: ArchitectureParams, folder: Path) -> Any:
    """Their model, read from what was exported; nothing in it is missing or left over."""
    with torch.no_grad():
        model.output_bias.normal_()
    found = exported(model, params)
    (folder / "config.json").write_text(json.dumps(found.config))
    save_file(found.tensors, folder / "model.safetensors", metadata={"format": "pt"})
    kind = getattr(transformers, found.architecture)
    theirs, report = kind.from_pretrained(folder, output_loading_info=True)
    assert not any(report.values()), report
    return theirs.eval()


def _logits(theirs: Any) -> torch.Tensor:
    mask = (torch.arange(8) < LENGTHS[:, None]).long()
    return theirs(input_ids=SOURCE, attention_mask=mask, decoder_input_ids=INPUTS).logits


@pytest.mark.parametrize(("name", "changes"), CASES)
def test_logits_are_equal_and_survive_their_saving(tmp_path, name, changes):
    """But for their LayerNorm's ε; see the module."""
    model, params = build(name, V, double=False, **changes), _params(name, changes)
    theirs = _written(model, params, tmp_path)
    ours = model.logits(model.hidden(SOURCE, LENGTHS, INPUTS))
    assert ours.abs().max() > 3
    torch.testing.assert_close(_logits(theirs), ours, atol=2e-4, rtol=0)
    if getattr(params, "positions", "learned") == "learned" and params.family == "transformer":
        return  # `save_pretrained` of Marian and Pegasus leaves positions out
    theirs.save_pretrained(tmp_path / "again")
    again = type(theirs).from_pretrained(tmp_path / "again").eval()
    torch.testing.assert_close(_logits(again), _logits(theirs), atol=1e-4, rtol=0)


@pytest.mark.parametrize(("name", "changes"), CASES)
def test_layer_norm_is_the_only_difference(tmp_path, name, changes):
    model, params = build(name, V, double=False, **changes), _params(name, changes)
    theirs = _written(model, params, tmp_path)
    for part in theirs.modules():
        if isinstance(part, torch.nn.LayerNorm):
            part.eps = 1e-12
    ours = model.double()
    torch.testing.assert_close(
        _logits(theirs.double()),
        ours.logits(ours.hidden(SOURCE, LENGTHS, INPUTS)),
        atol=1e-6,  # their sines in float32
        rtol=0,
    )


@pytest.mark.parametrize(("name", "changes"), [*CASES, ("gru_additive", {}), ("lstm", {})])
def test_our_network_comes_back_to_the_bit(tmp_path, name, changes):
    model, params = build(name, V, double=False, **changes), _params(name, changes)
    description = {"vocab_size": V, "architecture": json.loads(params.model_dump_json())}
    (tmp_path / "maskline.json").write_text(json.dumps(description))
    if architecture_of(params):
        tensors = exported(model, params).tensors
    else:
        tensors = {name: value.detach() for name, value in model.named_parameters()}
    save_file(tensors, tmp_path / "model.safetensors")
    again = restored(tmp_path / "maskline.json", load_file(tmp_path / "model.safetensors"))
    own = dict(model.named_parameters(remove_duplicate=False))
    for one, parameter in again.named_parameters(remove_duplicate=False):
        assert torch.equal(parameter, own[one]), one


def test_a_recurrent_model_has_no_class_there():
    with pytest.raises(ValueError, match="family \\(recurrent\\) has no class in transformers"):
        exported(build("gru"), _params("gru", {}))


@pytest.mark.parametrize("name", ["transformer", "bert2bert"])
def test_a_folder_says_how_to_search_and_how_much_fits(reproduced_copy, tmp_path, name):
    """`generate` gives translations of the least length, of sources that are cut."""
    params = read_params()
    params.root["decoding"] |= {"min_length": 6, "no_repeat": 2}
    decoding = validate(params, "decoding", DecodingParams)
    model = Path("data/seq2seq") / name
    made = save_encoder_decoder(model, Path("data/tokenizer"), decoding, tmp_path)
    settings = transformers.GenerationConfig.from_pretrained(tmp_path)
    assert (settings.num_beams, settings.early_stopping) == (decoding.beam_size, "never")
    assert settings.no_repeat_ngram_size == 2
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    given = tokenizer("The cow is small. " * 200, truncation=True, return_tensors="pt",
                      return_token_type_ids=False)  # fmt: skip
    assert given["input_ids"].shape == (1, made.max_positions)
    theirs = transformers.AutoModelForSeq2SeqLM.from_pretrained(tmp_path).eval()
    found = theirs.generate(**given)[0].tolist()[1:]
    assert 6 <= len(found) <= decoding.max_length
    ours = load_encoder_decoder(tmp_path)
    original = load(model)
    for one, parameter in original.named_parameters():
        assert torch.equal(parameter, dict(ours.named_parameters())[one])
