"""Reading params.yaml: every problem with its place, value, rule and remedy."""

import re
from pathlib import Path

import pytest
from pydantic import Field

from pipelines.corpus.params import CorpusParams
from pipelines.frame.errors import ParamsError
from pipelines.frame.params_reader import Section, read_params, validate
from tests.conftest import ROOT


class Inner(Section):
    width: int = Field(ge=1)
    kind: str


class Outer(Section):
    inner: Inner
    rate: float


def _document(tmp_path: Path, text: str):
    path = tmp_path / "params.yaml"
    path.write_text(text, encoding="utf-8")
    return read_params(path)


def test_validate_exponent_without_point_is_a_number(tmp_path):
    document = _document(tmp_path, "a:\n  inner: {width: 1, kind: x}\n  rate: 1e-4\n")
    assert validate(document, "a", Outer).rate == 1e-4


def test_validate_unknown_key_names_line_value_and_nearest(tmp_path):
    document = _document(tmp_path, "a:\n  inner:\n    widht: 3\n    kind: x\n  rate: 0.1\n")
    with pytest.raises(ParamsError) as caught:
        validate(document, "a", Outer)
    assert "params.yaml:3: a.inner.widht (3)" in str(caught.value)
    assert "did you mean 'width'?" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1  # that width is missing goes without saying


@pytest.mark.parametrize("value", ["'3'", "3.0", "true", "null", "0"])
def test_validate_wrong_type_or_range_is_refused_with_its_line(tmp_path, value):
    document = _document(tmp_path, f"a:\n  inner:\n    kind: x\n    width: {value}\n  rate: 0.1\n")
    with pytest.raises(ParamsError, match=r"params\.yaml:4: a\.inner\.width"):
        validate(document, "a", Outer)


def test_validate_two_problems_are_both_reported(tmp_path):
    document = _document(tmp_path, "a:\n  inner: {width: 0, kind: 5}\n  rate: 0.1\n")
    with pytest.raises(ParamsError) as caught:
        validate(document, "a", Outer)
    assert len(str(caught.value).splitlines()) == 2


def test_get_missing_section_suggests_the_nearest(tmp_path):
    document = _document(tmp_path, "decoding: {}\n")
    with pytest.raises(ParamsError, match="did you mean 'decoding'"):
        document.get("decodign")


@pytest.mark.parametrize("text", ["a: [1", "- 1\n- 2\n", "a: 1\na: 2\n"])
def test_read_document_broken_yaml_is_a_params_error(tmp_path, text):
    with pytest.raises(ParamsError, match=r"params\.yaml"):
        _document(tmp_path, text)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("make: nothing", "make: pair", r"corpus\.reader\.make \('pair'\) must be one of"),
        ("max_words: 9", "max_word: 9", r"corpus\.reader\.filters\[0\]\.max_word \(9\)"),
        ("name: length", "name: lenth", r"corpus\.reader\.filters\[0\]\.name \('lenth'\)"),
        ("weight: 1.0", "weight: 0", r"corpus\.reader\.sources\.web\.weight \(0\) must be above"),
        ("kind: opus", "kind: opsu", r"corpus\.reader\.sources\.web\.kind \('opsu'\)"),
        ("valid: 0.1}, p", "valid: 2.5}, p", r"corpus\.reader\.splits\.documents\.valid \(2\.5\)"),
    ],
)
def test_a_kind_that_is_the_name_of_a_key_too_is_told_from_it(tmp_path, old, new, message):
    """``kind: sources`` stands beside ``sources``."""
    text = """\
corpus:
  raw: data/raw/mine
  source_language: en
  target_language: de
  reader:
    kind: sources
    sources:
      web: {kind: opus, files: [x.zip], split: drawn, weight: 1.0}
    filters:
    - {name: length, applies_to: all, min_characters: 1, max_characters: 9, min_words: 1,
      max_words: 9}
    splits: {documents: {valid: 0.1}, pairs: {valid: 1, test: 1}}
    make: nothing
"""
    assert old in text
    (tmp_path / "params.yaml").write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(ParamsError, match=message):
        validate(read_params(tmp_path / "params.yaml"), "corpus", CorpusParams)


def test_read_document_missing_file_is_a_params_error(tmp_path):
    with pytest.raises(ParamsError, match="no such file"):
        read_params(tmp_path / "params.yaml")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "    kind: embedded",
            "    kind: embedded\n    num_docs: 3",
            r":\d+: corpus.reader.num_docs \(3\)",
        ),
        ("    kind: embedded", "    kind: files", r"corpus.reader.max_words must be set"),
        (
            "      name: adamw",
            "      name: sgd",
            r":\d+: bert.training.optimizer.beta1 \(0.9\) must be",
        ),
    ],
    ids=["unknown key", "another kind", "another name"],
)
def test_key_of_a_block_chosen_by_kind_or_name_is_an_error_with_its_line(
    tmp_path, old, new, message
):
    """Its choice is part of pydantic's path and no key of the file."""
    from pipelines.params.rules import problems_of

    text = (ROOT / "params.yaml").read_text("utf-8")
    assert old in text
    path = tmp_path / "params.yaml"
    path.write_text(text.replace(old, new, 1), "utf-8")
    problems = "\n".join(problems_of(read_params(path)))
    assert re.search(message, problems)
    assert ".embedded." not in problems
    assert ".sgd." not in problems
