"""The command line: everything that can be piped in, and what is shown."""

import io
import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.looks.beam_tree import BeamNode, tree_lines
from pipelines.translate.__main__ import main
from tests.conftest import QUIET


class _Pipe(io.TextIOWrapper):
    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data))


@pytest.fixture
def translate(
    reproduced: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(reproduced)

    def run(
        text: str | bytes, *arguments: str, arch: str = "transformer"
    ) -> tuple[int, list[str], str]:
        monkeypatch.setattr("sys.stdin", _Pipe(text if isinstance(text, bytes) else text.encode()))
        code = main(["--arch", arch, *arguments])
        printed = capsys.readouterr()
        return code, printed.out.splitlines(), printed.err

    return run


def test_lines_stay_in_their_places_whatever_is_wrong_with_some(translate):
    text = (
        "The cow is small.\n\n   \nThe ☃ is small.\n".encode()
        + b"\xff\xfe\n"
        + b"The cow is small."
    )
    code, out, err = translate(text, "--json")
    assert code == 2
    found = [json.loads(line)["hypotheses"] for line in out]
    assert [len(group) for group in found] == [1, 0, 0, 1, 0, 1]
    assert found[0] == found[5] != found[3]
    assert translate(text)[1] == [group[0]["text"] if group else "" for group in found]
    assert (
        "line 4: words (☃) must be spelt in the vocabulary's characters; they become [UNK]" in err
    )
    assert "line 5: byte at offset 0 (0xff) must be UTF-8 text" in err
    assert translate("The cow is small.\n")[0] == 0
    assert translate("") == (0, [], "")


def test_lines_are_normalised_as_the_corpus_is(translate):
    """A byte order mark, a decomposed letter, invisible and other spaces change nothing; NULs are
    refused.
    """
    plain = translate("The cow is small.\n")[1]
    odd = "\ufeffThe\u00a0cow\u200b is  sm\u00adall.\r\n\u200b\n"
    assert translate(odd) == (0, [*plain, ""], "")
    code, out, err = translate("The cow.\n".encode("utf-16-le"))
    assert (code, set(out)) == (2, {""})
    assert "line 1: byte at offset 1 (0x00) must be UTF-8 text (UTF-16 or binary data?)" in err


def test_translation_is_the_stages(translate, reproduced):
    sources = (reproduced / "data/corpus/pairs.test.en.txt").read_text()
    expected = (reproduced / "data/decoding/transformer/beam.txt").read_text().splitlines()
    assert translate(sources)[1] == expected


def test_a_line_longer_than_the_model_is_cut_or_refused(translate):
    text = "cow " * 10_000 + "\nThe cow.\n"
    code, out, err = translate(text)
    assert (code, len(out)) == (0, 2)
    assert "line 1: number of tokens (" in err
    assert "must be at most 128; the rest is cut off" in err
    code, out, err = translate(text, "--too-long", "refuse")
    assert (code, out[0]) == (2, "")
    assert out[1]
    assert "shorten the line" in err


def test_scores_and_json_add_up(translate):
    _, out, _ = translate("The cow is small.\n\n", "--beam", "4", "--best", "3", "--json")
    found, blank = (json.loads(line)["hypotheses"] for line in out)
    assert (len(found), blank) == (3, [])
    for hypothesis in found:
        assert sum(hypothesis["token_log_probabilities"]) == pytest.approx(
            hypothesis["log_probability"], abs=1e-5
        )
        assert hypothesis["score"] == pytest.approx(
            hypothesis["log_probability"] / len(hypothesis["tokens"])
        )
        assert len(hypothesis["parents"]) == len(hypothesis["tokens"])
    _, out, _ = translate("The cow is small.\n", "--beam", "4", "--best", "3")
    assert [line.split(maxsplit=1)[0] for line in out] == [
        f"{hypothesis['score']:.4f}" for hypothesis in found
    ]


@pytest.mark.parametrize("arch", ["transformer", "gru_attention", "gru"])
def test_tree_and_attention_are_shown_and_drawn(translate, tmp_path, arch):
    _, out, _ = translate("The cow is small.\n", "--beam", "3", "--tree", "--attention", arch=arch)
    tree = [line for line in out if "─ " in line]
    assert sum("◆ 1" in line for line in tree) == 1
    assert tree[0].startswith(("├─", "└─"))
    if arch == "gru":
        assert out[-1] == "gru has no attention to show"
    else:
        assert any(line.strip().startswith("[") or "│" in line for line in out[len(tree) + 1 :])
    for name in ("beam.png", "beam.html"):
        translate(
            "The cow is small.\n", "--beam", "3", "--picture", str(tmp_path / name), arch=arch
        )
    assert (tmp_path / "beam.png").read_bytes().startswith(b"\x89PNG")
    page = (tmp_path / "beam.html").read_text()
    assert ("<h2>Attention</h2>" in page) == (arch != "gru")
    assert "◆ 1" in page


def test_what_translations_begin_with_and_contain(translate):
    _, out, _ = translate("The cow is small.\nThe cow.\n", "--begin", "Die", "--with", "Kuh")
    assert all(line.startswith("Die") and "Kuh" in line for line in out)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--beam", "0"], "--beam (0) must be at least 1"),
        (["--best", "-1"], "--best (-1) must be at least 1"),
        (["--beam", "2", "--best", "3"], "num_best (3) must not exceed beam_size (2)"),
        (["--begin", "☃"], "text ('☃') must be known to the vocabulary"),
        (
            ["--with", "Die Kuh ist klein und der Hund ist klein und die Katze ist klein."],
            "and shorter than decoding.max",
        ),
        (["--picture", "beam.gif"], "--picture ('beam.gif') must end in .png or .html"),
    ],
)
def test_bad_arguments_are_refused(translate, arguments, message):
    code, out, err = translate("The cow.\n", *arguments)
    assert (code, out) == (2, [])
    assert message in err


def test_unknown_architecture_is_refused(translate):
    assert "must be one of gru, gru_attention" in translate("The cow.\n", arch="grue")[2]


def test_damaged_model_is_refused(translate, reproduced, tmp_path, monkeypatch):
    shutil.copytree(
        reproduced / "data", tmp_path / "data", ignore=shutil.ignore_patterns("raw", "bert")
    )
    shutil.copy(reproduced / "params.yaml", tmp_path)
    weights = tmp_path / "data/seq2seq/transformer/model.safetensors"
    weights.chmod(0o644)
    whole = weights.read_bytes()
    for damage in (whole[: len(whole) // 2], b"", b"no weights at all"):
        weights.write_bytes(damage)
        monkeypatch.chdir(tmp_path)
        code, out, err = translate("The cow.\n")
        assert (code, out) == (1, [])
        assert "data/seq2seq/transformer: cannot be loaded" in err
        assert "run dvc repro seq2seq@transformer" in err


def test_a_closed_pipe_ends_quietly(reproduced):
    command = (
        f"yes 'The cow is small.' | head -2000 | {sys.executable} -m pipelines.translate --arch gru"
    )
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command} --beam 1 | head -1"],
        cwd=reproduced, env={**QUIET, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
        timeout=120, check=False,
    )  # fmt: skip
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr == ""


def test_branches_that_nobody_would_follow_are_counted_and_not_drawn():
    def node(token: str, chance: float, rank: int | None = None, **children: BeamNode) -> BeamNode:
        return BeamNode(token, math.log(chance), rank, dict(enumerate(children.values())))

    # One below 0.01 leads to a hypothesis, one to none; two more stand beside a likely one.
    kept = node("rare", 0.002, end=node("[SEP]", 0.9, 1))
    likely = node("likely", 0.5, a=node("x", 0.009), b=node("y", 0.001))
    root = node("", 1.0, a=kept, b=likely, c=node("gone", 0.0099))
    assert tree_lines(root) == [
        "├─ rare 0.00",
        "│  └─ [SEP] 0.90 ◆ 1",
        "├─ likely 0.50",
        "│  └─ … 2 below 0.01",
        "└─ … 1 below 0.01",
    ]
