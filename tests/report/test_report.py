"""Tables for people: aligned, honest about who wins; pictures with the same bytes twice."""

import json
from pathlib import Path

import pytest

from pipelines.frame.errors import DataError
from pipelines.report.examples import (
    by_group,
    chosen,
    marked,
    rarest_words,
    sentence_scores,
)
from pipelines.report.markdown import markdown_table
from pipelines.report.pictures import draw_all, draw_groups
from pipelines.report.results import Results, Row, read_results
from pipelines.report.table import render
from pipelines.report.tables import (
    bert_table,
    comparison_sentences,
    differences_table,
    scores_table,
    significance_table,
)

_SCORES = {
    "bleu": 30.0,
    "bleu_interval": 1.5,
    "chrf": 55.0,
    "chrf_interval": 2.5,
    "exact_match": 0.25,
    "bleu_signature": "nrefs:1|tok:13a",
    "chrf_signature": "nrefs:1|nc:6",
}


def _results(
    difference: float, p_value: float, *, leading: str = "bleu", ceiling: float = 100.0
) -> Results:
    bert = {
        "valid_mlm_accuracy": 0.5,
        "mlm_accuracy_unigram": 0.1,
        "valid_nsp_accuracy": 0.9,
        "nsp_accuracy_majority": 0.51,
    }
    found = {"difference": difference, "p_value": p_value}
    comparison = {"system": "a", "baseline": "b", leading: found}
    pair = {**comparison, "system": "a<b>", "baseline": "c"}
    rows = [Row(name, 1234567, _SCORES, _SCORES, [], []) for name in ("a<b>", "c")]
    reach = {"bleu": ceiling, "chrf": ceiling}
    warnings = ["<too short>"] if leading == "chrf" else []
    return Results(bert, rows, [comparison], [pair], {}, {}, leading, reach, warnings, {})


def test_differences_are_of_rows_less_columns_with_stars_where_sure():
    table = differences_table(_results(2.0, 0.01))
    assert table == [
        ["BLEU, row less column", "a<b>", "c"],
        ["a<b>", "", "+2.00*"],
        ["c", "-2.00*", ""],
    ]
    assert differences_table(_results(-0.5, 0.3))[1] == ["a<b>", "", "-0.50"]


@pytest.mark.parametrize(
    ("difference", "p_value", "sentence"),
    [
        (2.0, 0.01, "a beats b by 2.00 BLEU (beam, paired bootstrap p = 0.010, significant)"),
        (-2.0, 0.01, "a loses to b by 2.00 BLEU (beam, paired bootstrap p = 0.010, significant)"),
        (0.3, 0.4, "a beats b by 0.30 BLEU (beam, paired bootstrap p = 0.400, not significant)"),
        (0.0, 1.0, "a equals b by 0.00 BLEU (beam, paired bootstrap p = 1.000, not significant)"),
    ],
)
def test_comparison_sentences_say_who_wins(difference, p_value, sentence):
    assert comparison_sentences(_results(difference, p_value)) == [sentence]


def test_render_aligns_columns():
    lines = render([["name", "BLEU"], ["gru", "7.10"], ["transformer", "39.05"]]).splitlines()
    assert lines[0] == "name          BLEU"
    assert lines[2] == "gru           7.10"
    assert lines[3] == "transformer  39.05"


def test_markdown_table_has_a_header_rule():
    assert markdown_table([["a", "b"], ["1", "2"]]) == "| a | b |\n|---|---|\n| 1 | 2 |"


def test_significance_is_of_each_pair_whichever_way():
    assert significance_table(_results(2.0, 0.01)) == [
        ["p-value, BLEU", "a<b>", "c"],
        ["a<b>", "", "0.010"],
        ["c", "0.010", ""],
    ]


def test_examples_are_the_best_the_middle_and_the_worst_of_the_system_that_leads():
    references = [f"one two three {number}" for number in range(9)]
    good = [*references[:5], *(f"one two {number}" for number in range(5, 8)), "x"]
    translations = {"a": good, "b": ["y"] * 9}
    scores = {name: sentence_scores(lines, references) for name, lines in translations.items()}
    found = chosen(references, references, translations, scores, "a", 2)
    rows = {why: [one.row for one in found if one.why == why] for why in ("first", "best", "worst")}
    assert rows == {"first": [0, 1], "best": [0, 1, 2], "worst": [8, 7, 6]}
    assert found[2].chrf["a"] == 100.0
    assert found[-3].translations == {"a": "x", "b": "y"}
    assert (
        len(chosen(["s"], ["r"], {"a": ["r"]}, {"a": [100.0]}, "a", 5)) == 4
    )  # of a test set of one


def test_quality_by_rarity_parts_sentences_by_their_rarest_word():
    training = ["common common"] * 50 + ["rare word"] * 3
    sources = ["common"] * 10 + ["common rare"] * 10 + ["Unknown common"] * 10
    references = [f"answer {number}" for number in range(30)]
    translations = references[:10] + ["answer"] * 10 + ["x"] * 10
    rarest = rarest_words(sources, training)
    assert rarest == [100] * 10 + [3] * 10 + [0] * 10
    (parts,) = by_group(rarest, {"a": sentence_scores(translations, references)}).values()
    assert [(part["fewest"], part["most"], part["sentences"]) for part in parts] == [
        (0, 0, 10), (3, 3, 10), (100, 100, 10),
    ]  # fmt: skip
    scores = [part["chrf"] for part in parts]
    assert scores[0] < scores[1] < scores[2] == 100.0
    assert parts[2]["interval"] == 0.0


def test_differences_of_a_translation_are_marked():
    assert marked("a b c", "a b c") == [("same", "a b c")]
    assert marked("", "a") == [("missing", "a")]
    assert marked("a x", "a") == [("same", "a"), ("other", "x")]


def test_scores_table_row():
    assert scores_table(_results(1, 0.1))[1] == [
        "a<b>",
        "1,234,567",
        "30.00",
        "30.00 ± 1.50",
        "55.00",
        "55.00",
    ]


def test_where_answers_are_too_short_for_bleu_chrf_leads_and_it_is_said():
    results = _results(1, 0.01, leading="chrf")
    header, row, _ = scores_table(results)
    assert header[2:] == ["chrF greedy", "chrF beam", "BLEU greedy", "BLEU beam", "exact"]
    assert row[2:] == ["55.00", "55.00 ± 2.50", "30.00", "30.00", "25.0 %"]
    assert comparison_sentences(results)[0].startswith("a beats b by 1.00 chrF ")
    assert differences_table(results)[0][0] == "chrF, row less column"


def test_a_low_ceiling_is_a_row_of_its_own():
    assert [row[0] for row in scores_table(_results(1, 0.1))[1:]] == ["a<b>", "c"]
    assert scores_table(_results(1, 0.1, ceiling=48.0))[-1] == [
        "(a perfect model)",
        "",
        "",
        "48.00",
        "",
        "48.00",
    ]


def test_a_bert_without_next_sentences_has_no_row_for_them():
    results = _results(1, 0.1)
    assert [row[0] for row in bert_table(results)[1:]] == [
        "masked tokens (MLM)",
        "next sentence (NSP)",
    ]
    for name in [name for name in results.bert if "nsp" in name]:
        del results.bert[name]
    assert [row[0] for row in bert_table(results)[1:]] == ["masked tokens (MLM)"]


def test_pictures_are_the_same_bytes_twice_and_their_text_is_text(
    reproduced, tmp_path, monkeypatch
):
    monkeypatch.chdir(reproduced)
    results = read_results(["gru", "bert2bert"])
    groups = json.loads(Path("data/report/findings.json").read_text())["rarity"]
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        draw_all(results, ["gru", "bert2bert"], tmp_path / name)
        draw_groups(groups, "occurrences", tmp_path / name / "groups.svg")
    pictures = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert len(pictures) == 6
    for name in pictures:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert ">bert2bert</text>" in (tmp_path / "one/seq2seq_loss.svg").read_text()


def test_read_results_before_any_run_is_a_data_error(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="make run"):
        read_results(["gru"])
    assert not Path("data").exists()
