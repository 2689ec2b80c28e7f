"""Each recipe runs to the end of its pipeline: preflight to results table, with tiny sizes and a
little text.
"""

import gzip
import json
import random
import re
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard
from ruamel.yaml import YAML

from pipelines.corpus.embedded import write_document
from pipelines.corpus.lexicon import read_lexicon
from pipelines.frame.params_reader import plain, read_params
from pipelines.release.checking import verify
from tests.conftest import ROOT, run_in
from tests.release.alone import run_alone
from tests.report.test_page import assert_sound
from tests.whole_pipeline import checkout, run

CHAINS = [
    ["bert_tiny", "bert_modern"],
    ["all_architectures"],
    ["bert_mini"],
    ["bert_base"],
    ["bert_large", "bert_modern"],
    ["bert_continued"],
    ["characters"],
    ["classification"],
    ["ensembles"],
    ["quick"],
    ["diagnosis"],
    ["words"],
    ["multi30k", "opus"],
    ["multi30k", "multi30k_mini"],
    ["multi30k", "multi30k_parts"],
    ["multi30k", "multi30k_transformer"],
    ["multi30k", "multi30k_transformer", "multi30k_bert"],
    ["multi30k", "multi30k_transformer", "multi30k_recurrent"],
]
# Released too: what their models are made of differs.
RELEASED = [
    ["bert_tiny", "bert_modern"],
    ["all_architectures"],
    ["bert_continued"],
    ["classification"],
    ["ensembles"],
]
# One after the other in one checkout: each finds what those before it left.
IN_ONE_CHECKOUT = [["opus"], ["wikitext"], ["multi30k"], ["wikipedia"]]
SIZES = {"width": 16, "num_heads": 2, "feed_forward_width": 32}
LAYERS = ("num_layers", "num_encoder_layers", "num_decoder_layers")


def _shrink(params: dict[str, Any]) -> None:
    """Every size that costs time, and nothing that decides which code runs."""
    bert, seq2seq, tasks = params["bert"], params["seq2seq"], params["classification"]["common"]
    for block in (bert["model"], *seq2seq["architectures"].values()):
        block.update({name: value for name, value in SIZES.items() if name in block})
        block.update({name: 1 for name in LAYERS if name in block})
    for phase in bert["phases"]:
        phase.update(updates=2, batch_size=2, max_predictions=9)
        if phase["ramp"] != "none":
            phase["ramp"] = {"from_batch_size": 1, "updates": 1}
    seq2seq["common"].update(updates=2, bleu_pairs=min(4, seq2seq["common"]["bleu_pairs"]))
    seq2seq["common"]["batch_size"] = 8 if seq2seq["common"]["batch_unit"] == "pairs" else 512
    tasks.update(updates=2, batch_size=4)
    for training in (bert["training"], seq2seq["common"], tasks):
        # bf16 takes minutes on a CPU without it
        training.update(validate_every=1, log_every=1, precision="32-true")
        training["snapshots"] = [2] if training["snapshots"] else []
        training["schedule"].update(
            {
                name: 1
                for name in ("warmup_updates", "decay_updates")
                if name in training["schedule"]
            }
        )
    if isinstance(params["tokenizer"]["vocab_size"], int):
        params["tokenizer"]["vocab_size"] = min(400, params["tokenizer"]["vocab_size"])
    params["decoding"].update(beam_size=2, curve=[2], num_best=1, max_length=12)
    params["evaluation"].update(num_resamples=100)
    closely = {"rows": 2, "batches": 2, "eigenvalues": 1, "lanczos_steps": 3, "points": 3}
    params["diagnosis"]["common"].update(closely)
    params["hardware"].update(accelerator="cpu", num_threads=1, compile=False)
    reader = params["corpus"]["reader"]
    reader.update({name: 40 for name in reader if name.startswith("num_")})
    if reader["kind"] == "sources":
        reader["splits"] = {"documents": {"valid": 20}, "pairs": {"valid": 20, "test": 20}}


def _text(folder: Path, reader: dict[str, Any]) -> None:
    """Files of a ``files`` reader, in the embedded grammar's words."""
    lexicon = read_lexicon(ROOT / "data/raw/embedded")
    folder.mkdir(parents=True)
    for kind in ("documents", "pairs"):
        for split, files in reader[kind].items():
            documents = [
                write_document(lexicon, 1, f"{kind} {split}", number) for number in range(40)
            ]
            for language, side in (("en", "english"), ("de", "german")):
                lines = [[getattr(pair, side) for pair in document] for document in documents]
                between = "\n\n" if kind == "documents" else "\n"
                text = between.join("\n".join(one) for one in lines)
                (folder / files[language]).write_bytes(gzip.compress(f"{text}\n".encode()))


def _sources_text(folder: Path, sources: dict[str, Any]) -> None:
    """Files of the shipped recipes' sources, in the embedded grammar's words."""
    lexicon = read_lexicon(ROOT / "data/raw/embedded")
    folder.mkdir(parents=True)
    for name, source in sources.items():
        found = [write_document(lexicon, 1, f"sources {name}", number) for number in range(60)]
        # A sentence of figures in each, for filters to drop from its middle.
        articles = [
            " ".join(
                [*(pair.english for pair in document[:2]), "12 34 56."]
                + [pair.english for pair in document[2:]]
            )
            for document in found
        ]
        if source["kind"] == "text":
            text = "".join(
                f" = Title {number} = \n \n {article} \n \n"
                for number, article in enumerate(articles)
            )
            (folder / f"wiki.{name}.tokens").write_text(text, encoding="utf-8")
        elif source["kind"] == "table":
            rows = "".join(json.dumps({"text": article}) + "\n" for article in articles)
            (folder / "rows.jsonl.gz").write_bytes(gzip.compress(rows.encode()))
        else:
            pairs = [pair for document in found for pair in document]
            with zipfile.ZipFile(folder / "x.zip", "w") as archive:
                archive.writestr("x.en", "".join(f"{pair.english}\n" for pair in pairs))
                archive.writestr("x.de", "".join(f"{pair.german}\n" for pair in pairs))


def _bert(folder: Path, positions: int) -> None:
    """A BERT that transformers saved, with the letters of the embedded corpus."""
    from transformers import BertConfig, BertForPreTraining

    lexicon = read_lexicon(ROOT / "data/raw/embedded")
    pairs = [pair for number in range(60) for pair in write_document(lexicon, 1, "letters", number)]
    letters = sorted(set("".join(pair.english + pair.german for pair in pairs)) - {" "})
    tokens = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *letters,
        *(f"##{letter}" for letter in letters),
    ]
    sizes = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
    }
    config = BertConfig(vocab_size=len(tokens), max_position_embeddings=positions, **sizes)
    BertForPreTraining(config).save_pretrained(folder)
    (folder / "vocab.txt").write_text("".join(f"{token}\n" for token in tokens), encoding="utf-8")


def _project(folder: Path, chain: list[str]) -> Path:
    checkout(folder, *(ROOT / f"recipes/{name}.yaml" for name in chain))
    params_file = read_params(folder / "params.yaml")
    _shrink(params_file.root)
    with (folder / "params.yaml").open("w", encoding="utf-8") as file:
        YAML().dump(params_file.root, file)
    params = plain(params_file.root)
    if params["corpus"]["reader"]["kind"] == "files":
        _text(folder / params["corpus"]["raw"], params["corpus"]["reader"])
    if params["corpus"]["reader"]["kind"] == "sources":
        _sources_text(folder / params["corpus"]["raw"], params["corpus"]["reader"]["sources"])
    if params["bert"]["starts_from"] == "data/raw/bert":
        _bert(folder / "data/raw/bert", params["bert"]["model"]["max_positions"])
    return folder


def _assert_complete(folder: Path, printed: str) -> None:
    params = plain(read_params(folder / "params.yaml").root)
    names = [*params["seq2seq"]["architectures"], *params["ensembles"]]
    found = json.loads((folder / "data/evaluation/metrics.json").read_text())["evaluation"]
    assert list(found["architectures"]) == names
    for name in names:
        assert re.search(rf"^{re.escape(name)} +[\d.]+ ", printed, re.MULTILINE), name
    assert ("next sentence (NSP)" in printed) == (params["bert"]["segments"]["nsp"] != "none")
    for task in params["classification"]["tasks"]:
        assert (folder / f"data/classification/{task}/predictions.tsv").is_file()
    for name in ("findings.json", "bert_loss.svg", "model_card.md"):
        assert (folder / "data/report" / name).stat().st_size > 1000
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert_sound(page)
    assert all(f">{name}<" in page for name in names)


@pytest.mark.recipes
@pytest.mark.parametrize("chain", CHAINS, ids="+".join)
def test_recipe_runs_to_the_end_of_its_pipeline(tmp_path, chain):
    folder = _project(tmp_path / "project", chain)
    _assert_complete(folder, run(folder))
    if chain in RELEASED:
        _assert_released(folder)


def _assert_released(folder: Path) -> None:
    """Every model has a card whose program runs without this project; ensembles are told of, and
    searched from there.
    """
    (folder / "dvc.lock").write_text("stages: {}\n")  # the stages ran without DVC
    command = ["-m", "pipelines.release", "made", "--ctranslate2", "int8"]
    run_in(folder, sys.executable, *command)
    made = folder / "releases/made"
    assert verify(made, None)
    params = plain(read_params(folder / "params.yaml").root)
    models = ["bert", *params["classification"]["tasks"], *params["seq2seq"]["architectures"]]
    assert json.loads((made / "release.json").read_text())["models"] == models
    printed = run_alone(sorted(path.parent for path in made.glob("*/README.md")))
    assert set(models) <= set(printed)
    for model in models:
        assert ModelCard.load(made / model / "README.md").data.eval_results
    readme = (made / "README.md").read_text()
    sources = (folder / "data/corpus/pairs.test.en.txt").read_text()
    for name in params["ensembles"]:
        assert f"ensemble `{name}`" in readme
        command = ["-m", "pipelines.translate", "--release", str(made), "--arch", name]
        found = run_in(folder, sys.executable, *command, typed=sources).stdout
        assert found == (folder / f"data/decoding/{name}/beam.txt").read_text()
    nsp = params["bert"]["segments"]["nsp"]
    assert ("ForNextSentence" in (made / "bert/README.md").read_text()) == (nsp != "none")


@pytest.mark.recipes
def test_recipes_run_one_after_another_in_one_checkout(tmp_path):
    for chain in IN_ONE_CHECKOUT:
        folder = _project(tmp_path / "project", chain)
        _assert_complete(folder, run(folder))
        ledger = json.loads((folder / "data/corpus/report.json").read_text())["sources"]
        dropped = {name: one["dropped"] for name, one in ledger.items()}
        if chain == ["wikitext"]:
            assert list(dropped)[:3] == ["train", "valid", "test"]
            assert dropped["train"]["letters"]["count"] == 60


def test_every_recipe_is_tried():
    assert {name for chain in (*CHAINS, *IN_ONE_CHECKOUT) for name in chain} == {
        path.stem for path in (ROOT / "recipes").glob("*.yaml")
    }


@pytest.mark.recipes
def test_any_order_of_small_changes_to_a_recipe_still_runs(tmp_path):
    """Crossings drawn at random: masks, packing, NSP, schedules, optimizers, selection ×
    architectures.
    """
    rng = random.Random(1)
    chosen = {
        "bert": {
            "segments": {"nsp": rng.choice(["random", "sop", "none"]), "packed": False},
            "masking": {"whole_words": True},
            "training": {"select": "best", "average": 2, "patience": 1},
        },
        "seq2seq": {
            "common": {"select": "best", "select_by": "bleu", "average": 2, "batch_unit": "tokens"}
        },
        "decoding": {"rerank": "mbr", "no_repeat": 2, "min_length": 2, "precision": "bfloat16"},
        "hardware": {"num_workers": 2, "micro_batch_size": 1},
    }
    (tmp_path / "chosen.yaml").write_text(json.dumps(chosen))
    folder = checkout(tmp_path / "project", tmp_path / "chosen.yaml")
    params_file = read_params(folder / "params.yaml")
    _shrink(params_file.root)
    with (folder / "params.yaml").open("w", encoding="utf-8") as file:
        YAML().dump(params_file.root, file)
    _assert_complete(folder, run(folder))
    _assert_released(folder)
