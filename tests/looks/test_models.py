"""Looks into trained models: what is shown is what the models do."""

from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer, BertForPreTraining

from pipelines.decoding.params import DecodingParams
from pipelines.formats.corpus.files import pair_file, read_documents, read_lines
from pipelines.formats.tokenizer.tokenizer import SubwordTokenizer
from pipelines.frame.params_reader import read_params, validate
from pipelines.looks.models import fill_mask, next_sentences, searched, short_lines


@pytest.fixture(scope="module")
def tokenizer(reproduced: Path) -> SubwordTokenizer:
    return SubwordTokenizer.load(reproduced / "data/tokenizer")


@pytest.mark.parametrize("name", ["gru", "gru_attention", "bert2bert"])
def test_a_search_that_is_shown_is_that_of_the_test_set(reproduced, tokenizer, name):
    params = validate(read_params(reproduced / "params.yaml"), "decoding", DecodingParams)
    sources = read_lines(pair_file(reproduced / "data/corpus", "test", "en"))[:2]
    expected = read_lines(reproduced / f"data/decoding/{name}/beam.txt")[:2]
    found = searched(reproduced / "data/seq2seq" / name, tokenizer, sources, params)
    ids = AutoTokenizer.from_pretrained(reproduced / "data/bert").convert_tokens_to_ids
    assert [tokenizer.decode(ids(one["target"])) for one in found] == expected
    for one in found:
        assert (one["attention"] is None) == (name == "gru")
        for row in one["attention"] or []:
            assert sum(row) == pytest.approx(1, abs=0.02)
            assert len(row) == len(one["source"])
        assert any("◆ 1" in line for line in one["tree"])


def test_sentences_longer_than_a_model_s_positions_are_cut(reproduced, tokenizer):
    params = validate(read_params(reproduced / "params.yaml"), "decoding", DecodingParams)
    long = ["the cook " * 400, "", "the cook " * 300]
    lines = short_lines(long, tokenizer, 2)
    assert lines == [long[2], long[0]]  # the shortest, none empty
    (one, _) = searched(reproduced / "data/seq2seq/bert2bert", tokenizer, lines, params)
    assert 10 < len(one["source"]) <= 256
    assert one["source"][-1] == "[SEP]"


def test_masks_are_answered_as_transformers_answers_them(reproduced, tokenizer):
    bert = reproduced / "data/bert"
    (found,) = fill_mask(bert, tokenizer, ["The cook is proud of the red soup."])
    model, theirs = BertForPreTraining.from_pretrained(bert), AutoTokenizer.from_pretrained(bert)
    given = theirs(found["text"], return_tensors="pt")
    place = given.input_ids[0].tolist().index(theirs.mask_token_id)
    with torch.no_grad():
        shares = model.eval()(**given).prediction_logits[0, place].double().softmax(dim=-1)
    for token, share in found["answers"]:
        assert shares[theirs.convert_tokens_to_ids(token)] == pytest.approx(share, abs=1e-4)
    assert found["answers"][0][1] == pytest.approx(float(shares.max()), abs=1e-4)
    assert fill_mask(bert, tokenizer, ["", "1 2 3"]) == []


@pytest.mark.parametrize("kind", ["random", "sop"])
def test_each_pair_is_answered_once_and_the_same_each_time(reproduced, tokenizer, kind):
    documents = read_documents(reproduced / "data/corpus", "valid", "en")
    found = next_sentences(reproduced / "data/bert", tokenizer, documents, kind)
    neighbours = sum(len(one) - 1 for one in documents)
    assert [sum(row.values()) for row in found.values()] == [min(100, neighbours)] * 2
    assert found == next_sentences(reproduced / "data/bert", tokenizer, documents, kind)
