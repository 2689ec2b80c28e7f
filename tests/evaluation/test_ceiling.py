"""What a perfect model could reach, and what each kind of loss costs."""

import pytest

from pipelines.evaluation.ceiling import ceiling
from pipelines.evaluation.evaluate import _warnings
from pipelines.evaluation.metrics import Folding, plain_scores
from pipelines.formats.tokenizer.tokenizer import SubwordTokenizer
from pipelines.tokenizer.params import TokenizerParams
from pipelines.tokenizer.vocabulary import assembled, train_vocabulary
from tests.languages import SENTENCES

LINES = ["The old dog barks at the moon.", "A rock - climbing cat, of Utah, sleeps."] * 4


def _tokenizer(seen, targets, **changes) -> SubwordTokenizer:
    shipped = {
        "kind": "wordpiece",
        "vocabulary_from": "x",
        "vocab_size": "characters",
        "min_frequency": 1,
        "lowercase": False,
    }
    params = TokenizerParams(**{**shipped, "strip_accents": False, **changes})
    return SubwordTokenizer(assembled(train_vocabulary(seen, params, targets), params))


def test_each_kind_of_loss_is_told_apart():
    as_it_is = Folding()
    assert ceiling(_tokenizer(LINES, LINES), LINES, as_it_is, as_it_is) == {
        "bleu": 100.0,
        "chrf": 100.0,
        "unknown_words": 0,
        "lost": {kind: {"bleu": 0.0, "chrf": 0.0} for kind in ("unknown", "case", "spacing")},
    }
    no_spacing = ceiling(_tokenizer(LINES, []), LINES, as_it_is, as_it_is)
    again = [line.replace("rock - climbing", "rock-climbing") for line in LINES]
    expected = plain_scores(again, LINES)
    assert no_spacing["bleu"] == expected["bleu"] < 100
    assert no_spacing["lost"]["spacing"]["bleu"] == pytest.approx(100 - expected["bleu"])
    assert no_spacing["lost"]["case"]["bleu"] == no_spacing["lost"]["unknown"]["bleu"] == 0
    folded = ceiling(
        _tokenizer(LINES, LINES, lowercase=True),
        LINES,
        Folding(lowercase=True),
        Folding(lowercase=True),
    )
    assert folded["bleu"] == 100  # as the scores: case is folded on both sides
    assert folded["lost"]["case"]["bleu"] == pytest.approx(
        100 - plain_scores([x.lower() for x in LINES], LINES)["bleu"]
    )
    assert folded["lost"]["spacing"]["bleu"] == 0
    unknown = ceiling(
        _tokenizer(["The old dog barks at the ."], []), LINES[::2], as_it_is, as_it_is
    )
    assert unknown["unknown_words"] == 4
    lost = plain_scores([line.replace("moon", "[UNK]") for line in LINES[::2]], LINES[::2])
    assert unknown["bleu"] == lost["bleu"]
    assert unknown["lost"]["unknown"]["bleu"] == pytest.approx(100 - lost["bleu"])
    assert unknown["lost"]["spacing"] == {"bleu": 0.0, "chrf": 0.0}


def test_losses_together_and_a_low_ceiling_is_said():
    tokenizer = _tokenizer(
        ["the old dog barks at the . a rock - , of utah sleeps cat"], [], lowercase=True
    )
    found = ceiling(tokenizer, LINES, Folding(), Folding(lowercase=True))
    assert all(points["bleu"] > 0 for points in found["lost"].values())
    (warning,) = _warnings(found, 1.0, LINES, Folding())
    assert warning.startswith(
        f"even a perfect model would reach {found['bleu']:.1f} BLEU: its tokenizer loses text (unk"
    )


@pytest.mark.parametrize("language", SENTENCES)
def test_case_folded_by_the_tokenizer_never_lowers_a_folded_score(language):
    lines = SENTENCES[language]
    tokenizer = _tokenizer(lines, lines, lowercase=True, strip_accents=True)
    both = Folding(True, True, "char")
    assert ceiling(tokenizer, lines, both, Folding(True, True))["bleu"] == 100
