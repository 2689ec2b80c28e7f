"""A release: whole, valid for the Hub, used by its own programs, refused when tampered with."""

import json
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from pipelines.frame.errors import CheckFailed, DataError, ParamsError
from pipelines.frame.params_reader import read_params
from pipelines.release.__main__ import main
from pipelines.release.card import Data, Described, Origin, Score, card
from pipelines.release.checking import sums_of, verify
from pipelines.release.loading import load_released
from tests.conftest import ROOT, run_in
from tests.release.alone import run_alone
from tests.release.conftest import new_key

MODELS = ["bert", "gru", "gru_attention", "transformer", "rnd2rnd", "bert2bert"]


def test_what_is_in_it(released, reproduced):
    facts = json.loads((released / "release.json").read_text())
    assert facts["models"] == MODELS
    assert facts["license"] == "apache-2.0"
    for name in ("report.html", "environment.json", "SHA256SUMS", "model.sig"):
        assert (released / name).stat().st_size > 100
    for name in ("params.yaml", "dvc.lock"):
        assert (released / name).read_bytes() == (reproduced / name).read_bytes()
    assert not list(released.rglob("*.py"))  # no code comes with it
    assert not list(released.parent.glob(".*"))
    for name in MODELS:
        assert f"[{name}]({name}/README.md)" in (released / "README.md").read_text()


@pytest.mark.parametrize("name", MODELS)
def test_cards_are_what_the_hub_reads(released, reproduced, name):
    found = ModelCard.load(released / name / "README.md")
    assert found.data.license == "apache-2.0"
    assert found.data.language == ["en", "de"]
    assert found.data.pipeline_tag == ("fill-mask" if name == "bert" else "translation")
    assert found.data.model_name == name
    values = {one.metric_type: one.metric_value for one in found.data.eval_results}
    measured = json.loads((reproduced / "data/evaluation/metrics.json").read_text())["evaluation"]
    if name == "bert":
        assert {"accuracy", "perplexity"} == set(values)
    else:
        assert values["bleu"] == round(measured["architectures"][name]["beam"]["bleu"], 4)
    for heading in ("Use", "Scores", "Data", "Limits", "Made by"):
        assert f"\n## {heading}\n" in found.text
    assert max(map(len, found.text.split("```python")[0].splitlines())) < 200


def test_programs_of_the_cards_translate_as_we_do_without_us(released, reproduced):
    folders = [*MODELS, "transformer-ctranslate2", "transformer-ctranslate2-int8"]
    printed = run_alone([released / name for name in folders])
    assert len(printed["bert"].splitlines()) == 5
    lines = (reproduced / "data/corpus/pairs.test.en.txt").read_text().splitlines()
    for name in MODELS[1:]:
        beam = ["--beam", "1"] if name.startswith("gru") else []
        ours = subprocess.run(
            [sys.executable, "-m", "pipelines.translate", "--release", str(released), "--arch",
             name, *beam],
            input=min(lines, key=len) + "\n", capture_output=True, text=True, check=True,
            cwd=reproduced,
        )  # fmt: skip
        assert ours.stdout.removesuffix("\n") == printed[name].removesuffix("\n"), name


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda f: _append(f / "gru/model.safetensors"), "gru/model.safetensors was changed"),
        (lambda f: _flip(f / "bert/model.safetensors"), "bert/model.safetensors was changed"),
        (lambda f: (f / "gru/vocab.txt").rename(f / "gru/words.txt"),
         "gru/vocab.txt is missing; gru/words.txt was added"),
        (lambda f: (f / "bert/pytorch_model.bin").write_bytes(b"x"), "bert/pytorch_model.bin"),
        (lambda f: (f / "bert/.hidden").symlink_to("/etc/passwd"), "bert/.hidden was added"),
        (lambda f: (f / "lstm").symlink_to(f / "gru"), "lstm was added"),
        (lambda f: (f / "empty").mkdir(), "empty was added"),
        (lambda f: _linked(f / "gru/model.safetensors"), "gru/model.safetensors is a link"),
        (lambda f: (f / "bert/config.json").unlink(), "bert/config.json is missing"),
        (lambda f: (f / "SHA256SUMS").write_text("../x"), "SHA256SUMS: must be that of a release"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("signed", [False, True])
def test_a_release_that_is_not_as_it_was_is_refused_by_name(release, keys, spoil, told, signed):
    assert verify(release, keys[1]).endswith("signed with the key of key.pub")
    spoil(release)
    with pytest.raises((CheckFailed, DataError), match=re.escape(told)):
        load_released(release, "gru", keys[1] if signed else None)


def _linked(path: Path) -> None:
    """The same bytes, elsewhere."""
    elsewhere = path.parents[2] / "elsewhere"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)


def _append(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"x")


def _flip(path: Path) -> None:
    """One bit, in the middle of the weights."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda f: (f / "model.sig").unlink(), r"must be signed \(model.sig is not there\)"),
        (lambda f: (f / "model.sig").write_text("{}"), "must be what was signed, but"),
        (lambda f: (f / "model.sig").write_bytes(b"\xff\x00"), "must be what was signed, but"),
    ],
)
def test_checksums_made_anew_do_not_deceive_the_signature(release, keys, spoil, told):
    from pipelines.release.checking import write_sums

    spoil(release)
    with pytest.raises(CheckFailed, match=told):
        verify(release, keys[1])
    _append(release / "gru/model.safetensors")
    write_sums(release)
    assert verify(release, None).startswith("checksums hold")
    with pytest.raises(CheckFailed):
        verify(release, keys[1])


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        # Their digests hold bytes of neither quotation mark, of ', of ", of both.
        *((lambda f, text=text: (f / "gru/it's.txt").write_text(text), "gru/it's.txt changed since")
          for text in ("1", "0", "3", "104")),
        (lambda f: (f / "gru/words.txt").write_text("x"), "gru/words.txt was added since"),
        (lambda f: (f / "gru/it's.txt").unlink(), "gru/it's.txt is missing since"),
    ],
)  # fmt: skip
def test_a_file_with_new_checksums_is_named_by_the_signature(tmp_path, keys, spoil, told):
    from pipelines.release.checking import sign, write_sums

    folder = tmp_path / "small"
    (folder / "gru").mkdir(parents=True)
    for name in ("it's.txt", "other.txt"):
        (folder / "gru" / name).write_text("as it was")
    write_sums(folder)
    sign(folder, keys[0])
    spoil(folder)
    write_sums(folder)
    with pytest.raises(CheckFailed, match=re.escape(told)) as refused:
        verify(folder, keys[1])
    assert "SHA256SUMS changed since" in str(refused.value)


def test_another_version_s_words_are_no_traceback():
    from pipelines.release.checking import _reason

    assert _reason("Signature mismatch: [not a list") == "other files were"


def test_another_s_signature_is_none(release, keys, tmp_path):
    with pytest.raises(CheckFailed, match=r"signed with another key|must be what was signed"):
        verify(release, new_key(tmp_path, "other")[1])
    with pytest.raises(DataError, match="must be a public key of an elliptic curve"):
        verify(release, keys[0])
    with pytest.raises(DataError, match="must be a public key"):
        verify(release, tmp_path / "nothing.pub")


def test_translations_come_from_a_release_that_was_verified(release, keys, reproduced):
    """Whatever of it was changed, params.yaml too, before anything is read."""
    command = [sys.executable, "-m", "pipelines.translate", "--release", str(release), "--key",
               str(keys[1]), "--arch"]  # fmt: skip
    _flip(release / "gru/model.safetensors")
    done = run_in(reproduced, *command, "gru", check=False)
    assert done.returncode == 1
    assert "gru/model.safetensors was changed" in done.stderr
    (release / "params.yaml").write_text("{")
    done = run_in(reproduced, *command, "gru", check=False)
    assert "params.yaml was changed" in done.stderr
    shutil.copy(reproduced / "params.yaml", release)
    _flip(release / "gru/model.safetensors")
    done = run_in(reproduced, *command, "lstm", check=False)
    assert done.returncode == 2
    assert "--arch ('lstm') must be one of gru" in done.stderr


def test_bad_asks_are_told_and_leave_nothing(reproduced_copy, keys, tmp_path):
    for number, curve in enumerate(("genrsa", "ed25519")):
        command = f"openssl genpkey -algorithm {('rsa', curve)[number]} -out {tmp_path / curve}"
        subprocess.run(command.split(), check=True, capture_output=True)
    (tmp_path / "file").write_text("x")
    for given, error, told in (
        (["push"], SystemExit, "2"),
        (["No"], DataError, r"name \('No'\) must be lower-case"),
        (["current"], DataError, "and none of current, history, incoming"),
        (["a", "--only", "lstm"], ParamsError, r"--only \('lstm'\) must be one of bert, gru"),
        (["a", "--only", "gru", "--ctranslate2", "int8"], ParamsError, "where a model is a transf"),
        (["a", "--only", "gru", "--key", str(keys[1])], DataError, "must be a private key"),
        (["a", "--only", "gru", "--key", str(tmp_path / "genrsa")], DataError, "a private key of"),
        (["a", "--only", "gru", "--key", str(tmp_path / "ed25519")], DataError, "a private key of"),
        (["a", "--only", "gru", "--key", "none.pem"], DataError, "must be a private key"),
        (["a", "--out", str(tmp_path / "file")], DataError, "must be written, but"),
    ):
        with pytest.raises(error, match=told):
            main(given)
    assert not list(Path("releases").glob("*"))
    assert main(["a", "--only", "bert", "--archive"]) == 0
    for given in (["a", "--only", "bert"], ["a", "--only", "bert", "--archive"]):
        with pytest.raises(DataError, match="must not be there yet"):
            main(given)
    assert main(["verify", "releases/a.tar.gz"]) == 0
    with pytest.raises(DataError, match="must be a release's folder or archive"):
        main(["verify", str(tmp_path / "file")])
    with tarfile.open("releases/a.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    assert verify(tmp_path / "a", None) == "checksums hold; it is not signed"
    assert json.loads((tmp_path / "a/release.json").read_text())["models"] == ["bert"]
    assert sorted(path.name for path in Path("releases").iterdir()) == ["a", "a.tar.gz"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("beam_size: 3", "beam_size: 2"), "data/decoding/gru: must be of the params"),
        (("seed: 1 ", "seed: 9 "), "data/corpus: must be of the params"),
        (("num_resamples: 100", "num_resamples: 110"), "data/evaluation: must be of the params"),
    ],
)
def test_outs_of_other_params_are_no_release(reproduced_copy, change, told):
    path = reproduced_copy / "params.yaml"
    assert change[0] in path.read_text()
    path.write_text(path.read_text().replace(*change, 1))
    with pytest.raises(DataError, match=told):
        main(["a", "--only", "gru"])
    assert not list(Path("releases").glob("*"))


@pytest.mark.parametrize(
    "name", ["seq2seq/gru/model.safetensors", "evaluation/metrics.json", "bert/vocab.txt"]
)
def test_outs_that_were_edited_are_no_release(reproduced_copy, name):
    path = reproduced_copy / "data" / name
    path.chmod(0o644)
    for spoil in (lambda: path.write_bytes(path.read_bytes() + b" "), path.unlink):
        spoil()
        with pytest.raises(DataError, match=f"data/{name}: must be as the stage wrote it"):
            main(["a", "--only", "gru"])
    assert not list(Path("releases").glob("*"))


def test_a_licence_is_no_param_of_a_stage(reproduced_copy):
    """Correcting it makes a release with it, and no stage another result."""
    path = reproduced_copy / "params.yaml"
    path.write_text(re.sub(r"  license: .*", "  license: cc-by-4.0", path.read_text()))
    assert main(["a", "--only", "gru"]) == 0
    assert ModelCard.load("releases/a/gru/README.md").data.license == "cc-by-4.0"


@pytest.mark.parametrize("line", ["", "x" * 64, "a" * 64 + "  /etc/passwd", "a" * 64 + "  ../x"])
def test_sums_name_files_of_the_folder_alone(line):
    with pytest.raises(ValueError, match="line"):
        sums_of(f"{'b' * 64}  fine\n{line}\n")


def _described(**changes) -> Described:
    facts = {
        "name": "bert", "what": "A BERT.", "stage": "bert", "task": "fill-mask",
        "library": "transformers", "tags": ["bert"], "use": "print()", "installs": "torch",
        "how": "So.", "scores": [Score("accuracy", "right", 0.5, "50.0 %")], "measured": "There.",
        "limits": ["None."],
    }  # fmt: skip
    return Described(**facts | changes)


@pytest.mark.parametrize("license_", [None, "cc-by-4.0", "other"])
def test_a_card_without_a_licence_says_so(license_):
    data = Data("data/raw/mine", license_, ("question", "answer"), [("pairs", "3")])
    text = card(_described(), data, Origin("abc", False, "def", 1, "p", "d"))
    found = ModelCard(text)
    assert found.data.license == (license_ or "unknown")
    assert found.data.language is None  # names of two sides are no languages
    assert ("Licence: **not given**" in text) == (license_ is None)
    assert (found.data.to_dict().get("license_name") is not None) == (license_ == "other")
    begun = card(
        _described(begun_from="data/raw/theirs", raw="data/raw/tables"),
        data,
        Origin("none", False, "def", 1, "p", "d"),
    )
    assert ModelCard(begun).data.license == "unknown"  # of another text, begun with another's model
    assert "data/raw/mine" not in begun
    assert "Begun with the model in `data/raw/theirs`" in begun
    assert "git checkout" not in begun
    assert "translation" not in text


def test_recipes_that_bring_a_text_of_their_own_say_its_licence():
    for path in (ROOT / "recipes").glob("*.yaml"):
        corpus = read_params(path).root.get("corpus", {})
        if corpus.get("raw", "data/raw/embedded") != "data/raw/embedded":
            assert corpus.get("license"), path.name
