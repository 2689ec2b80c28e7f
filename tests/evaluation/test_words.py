"""Words of every language: BLEU's tokenizer, TER and ROUGE where no spaces are written."""

import json
import sys
from types import SimpleNamespace

import pytest

from pipelines.evaluation import words
from pipelines.evaluation.evaluate import _warnings
from pipelines.evaluation.metrics import Folding, compare, scores, share_with_ngrams
from pipelines.evaluation.rouge import RougeWords, rouge
from pipelines.evaluation.words import bleu_tokenizer, share_without_spaces
from pipelines.frame.errors import ParamsError
from tests.conftest import ROOT, run_in
from tests.languages import SENTENCES

CHINESE = [
    "今天天气很好，我们去公园吧！",
    "他说：“你好。”（2008年，北京）",
    "我有3个iPhone 15。",
] * 5
CHINESE_POOR = [line.replace("我", "你").replace("很", "不") for line in CHINESE]


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        ("zh", "zh"), ("zh_hant", "zh"), ("zh-hans", "zh"),
        ("cmn", "zh"), ("yue", "zh"), ("th", "char"), ("lao", "char"), ("km", "char"),
        ("mya", "char"), ("de", "13a"), ("hi", "13a"), ("answer", "13a"), ("ja", "ja-mecab"),
        ("jpn", "ja-mecab"),
    ],
)  # fmt: skip
def test_auto_follows_the_target_language(language, expected):
    assert bleu_tokenizer("auto", language) == expected
    assert bleu_tokenizer("intl", language) == "intl"


@pytest.mark.parametrize(
    ("wanted", "language", "package"), [("auto", "ko", "sacrebleu[ko]"), ("flores200", "de", "sen")]
)
def test_what_is_not_installed_is_named_before_anything_runs(
    monkeypatch, wanted, language, package
):
    monkeypatch.setattr(words, "find_spec", lambda name: None)
    with pytest.raises(ParamsError) as refused:
        bleu_tokenizer(wanted, language)
    assert (
        f"params.yaml: evaluation.bleu_tokenizer ('{wanted}') must be one whose packages are "
        "installed" in str(refused.value)
    )
    assert f"pip install '{package}" in str(refused.value)


def test_flores200_is_read_from_a_local_file_and_never_downloaded(monkeypatch, tmp_path):
    import sentencepiece

    monkeypatch.setenv("SACREBLEU", str(tmp_path))
    with pytest.raises(
        ParamsError, match=r"SentencePiece model at .*models/flores200sacrebleuspm; put the file"
    ):
        bleu_tokenizer("flores200", "de")
    (tmp_path / "models").mkdir()
    (tmp_path / "text").write_text("\n".join(CHINESE * 10), encoding="utf-8")
    sentencepiece.SentencePieceTrainer.train(
        input=str(tmp_path / "text"),
        model_prefix=str(tmp_path / "model"),
        vocab_size=44,
        minloglevel=2,
    )
    (tmp_path / "model.model").rename(tmp_path / "models/flores200sacrebleuspm")
    assert bleu_tokenizer("flores200", "de") == "flores200"
    script = (
        "from pipelines.evaluation.metrics import Folding, scores\n"
        f"found = scores({CHINESE!r}, {CHINESE!r}, 100, Folding(tokenizer='flores200'))\n"
        "print(found['bleu'], found['bleu_signature'])"
    )
    printed = run_in(ROOT, sys.executable, "-c", script, SACREBLEU=str(tmp_path)).stdout
    assert printed.startswith("100.0 ")
    assert "tok:flores200" in printed


@pytest.mark.parametrize("tokenizer", ["zh", "char", "intl", "ja-mecab", "none"])
def test_bleu_equals_sacrebleus_command_line(tmp_path, tokenizer):
    for name, lines in (("ref", CHINESE), ("hyp", CHINESE_POOR)):
        (tmp_path / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "sacrebleu",
        str(tmp_path / "ref"),
        "-i",
        str(tmp_path / "hyp"),
    ]
    expected = json.loads(
        run_in(ROOT, *command, "-m", "bleu", "-tok", tokenizer, "-w", "4", "-f", "json").stdout
    )
    found = scores(CHINESE_POOR, CHINESE, 100, Folding(tokenizer=tokenizer))
    assert found["bleu"] == expected["score"]
    assert f"tok:{tokenizer}" in found["bleu_signature"]


def test_ter_counts_words_where_no_spaces_are_written():
    """One character of seven is another: an edit of seven words, not of one sentence."""
    found = scores(["我喜欢喝水，"], ["我喜欢喝茶，"], 100, Folding(tokenizer="zh"), ["ter"])
    assert found["ter"] == pytest.approx(100 / 6, abs=1e-3)
    assert "words:zh" in found["ter_signature"]
    german = scores(["Ein Hund bellt"], ["Ein Hund bellt laut"], 100, also=["ter"])
    assert "words:" not in german["ter_signature"]


@pytest.mark.parametrize("language", SENTENCES)
def test_rouge_of_the_references_themselves_is_perfect(language):
    lines = SENTENCES[language]
    assert set(rouge(lines, lines).values()) == {100}


def test_rouge_words_are_googles_for_english_and_whole_elsewhere():
    from rouge_score.tokenizers import DefaultTokenizer

    for line in SENTENCES["English"]:
        assert RougeWords().tokenize(line) == DefaultTokenizer().tokenize(line)
    assert RougeWords().tokenize("Привет, Мир-2!") == ["привет", "мир", "2"]
    assert RougeWords().tokenize("यह किताब है।") == ["यह", "किताब", "है"]
    assert RougeWords().tokenize("我有 GPU。") == ["我", "有", "gpu"]
    assert RougeWords().tokenize("می\u200cروم، ශ්\u200dරී") == ["می\u200cروم", "ශ්\u200dරී"]
    assert rouge(["один два три"], ["один два пять"])["rouge1"] == pytest.approx(
        100 * 2 / 3, abs=1e-3
    )


@pytest.mark.parametrize("answers", [["yes", "no", "in Paris"] * 8, ["北京", "是"] * 8])
def test_short_answers_have_no_significant_difference_and_chrf_leads(answers):
    wrong = ["perhaps", *answers[1:]]
    folding = Folding(tokenizer="zh" if "北" in answers[0] else "13a")
    assert scores(answers, answers, 100, folding)["bleu"] == 0
    found = compare(wrong, answers, answers, 100, folding)
    assert found["bleu"] == {"difference": 0.0, "p_value": 1.0}
    assert found["chrf"]["difference"] < 0
    assert share_with_ngrams(answers, folding) == 0
    ceiling = {"bleu": 0.0, "chrf": 100.0, "lost": {}}
    (warning,) = _warnings(ceiling, 0.0, answers, folding)
    assert (
        warning == "BLEU counts 4-grams, and only 0 % of the references have four words: "
        "look at chrF and exact matches"
    )


def test_one_sentence_shows_nothing():
    """All its resamples are alike, so sacrebleu finds any difference significant."""
    found = compare(["a b c d e"], ["a b c d x"], ["a b c d e"], 100)
    assert found["bleu"]["difference"] > 0
    assert found["bleu"]["p_value"] == found["chrf"]["p_value"] == 1


def test_a_target_without_spaces_under_another_tokenizer_is_said():
    good = SimpleNamespace(tokenizer="13a")
    high = {"bleu": 100.0, "chrf": 100.0, "lost": {}}
    assert any(
        "evaluation.bleu_tokenizer must suit" in told
        for told in _warnings(high, 1.0, CHINESE, good)
    )
    assert list(_warnings(high, 1.0, SENTENCES["Korean"], good)) == []
    assert share_without_spaces(SENTENCES["Thai"]) > 0.9
    assert share_without_spaces(["", "", "猫が"]) == 0.5
