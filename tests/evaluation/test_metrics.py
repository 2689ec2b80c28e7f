"""Scores against sacrebleu's own command line; the winner of a comparison is the better system."""

import json
import sys

import pytest

from pipelines.evaluation.metrics import Folding, compare, scores
from tests.conftest import ROOT, run_in

REFERENCES = [
    "Der Koch erhitzt den Topf.",
    "Heute füttert Balina die braune Kuh im Stall.",
    "Weiß der Hirte, dass die Ziege klein ist?",
    "Der Matrose, der das Seil zieht, ist stark.",
] * 10
GOOD = [line.replace("Topf", "Löffel") for line in REFERENCES]
POOR = [
    line.replace("der", "die").replace("Der", "Das").replace("ist", "sind") for line in REFERENCES
]


@pytest.mark.parametrize("lowercase", [False, True])
def test_scores_equal_sacrebleus_command_line(tmp_path, lowercase):
    hypotheses = [line.capitalize() for line in POOR]
    for name, lines in (("ref", REFERENCES), ("hyp", hypotheses)):
        (tmp_path / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "sacrebleu",
        str(tmp_path / "ref"),
        "-i",
        str(tmp_path / "hyp"),
    ]
    command += ["-lc", "--chrf-lowercase"] * lowercase
    result = run_in(
        ROOT,
        *command,
        "-m",
        "bleu",
        "chrf",
        "ter",
        "-w",
        "4",
        "--confidence",
        "--confidence-n",
        "200",
        "-f",
        "json",
    )
    expected = {item["name"]: item for item in json.loads(result.stdout)}
    ours = scores(hypotheses, REFERENCES, 200, Folding(lowercase=lowercase), ["ter"])
    for name, theirs in (("bleu", "BLEU"), ("chrf", "chrF2"), ("ter", "TER")):
        assert ours[name] == expected[theirs]["score"]
        assert ours[f"{name}_interval"] == expected[theirs]["confidence_var"]
        assert expected[theirs]["signature"].split("|version")[0] in ours[f"{name}_signature"]
    other = scores(hypotheses, REFERENCES, 200, Folding(lowercase=not lowercase))
    assert min(abs(ours[name] - other[name]) for name in ("bleu", "chrf")) > 1


def test_rouge_is_rouge_scores_mean():
    """Lin 2004: two of three bigrams and all but one word of the first pair are shared; the second
    is equal.
    """
    ours = scores(["a b c d", "x y"], ["a b c e", "x y"], 100, also=["rouge"])
    assert ours["rouge1"] == pytest.approx(100 * (3 / 4 + 1) / 2)
    assert ours["rouge2"] == pytest.approx(100 * (2 / 3 + 1) / 2, abs=1e-4)
    assert ours["rougeL"] == pytest.approx(100 * (3 / 4 + 1) / 2)
    assert "ter" not in ours


def test_chrf_of_a_sentence_that_shares_nothing_counts_its_reference():
    """Where torchmetrics (issue 3480) leaves such references out and scores the corpus too high."""
    alone = scores(["abc def"], ["abc def"], 100)["chrf"]
    both = scores(["abc def", "ghi"], ["abc def", "xyz uvw"], 100)["chrf"]
    assert alone == pytest.approx(100)
    assert both < 70


def test_scores_of_folded_text_are_blind_to_case_and_accents():
    without_nouns = [line.capitalize() for line in REFERENCES]
    assert scores(without_nouns, REFERENCES, 100)["exact_match"] == 0
    assert scores(without_nouns, REFERENCES, 100, Folding(lowercase=True))["exact_match"] == 1
    bare = [line.lower().replace("ü", "u").replace("ö", "o") for line in REFERENCES]
    assert scores(bare, REFERENCES, 100, Folding(lowercase=True))["exact_match"] < 1
    folded = scores(bare, REFERENCES, 100, Folding(lowercase=True, strip_accents=True))
    assert folded["exact_match"] == 1
    assert folded["bleu_signature"].endswith("|accents:no")
    assert compare(bare, REFERENCES, REFERENCES, 100, Folding(True, True))["chrf"] == {
        "difference": 0.0,
        "p_value": 1.0,
    }


def test_scores_of_the_references_themselves_are_perfect():
    perfect = scores(REFERENCES, REFERENCES, 100)
    assert (round(perfect["bleu"], 6), round(perfect["chrf"], 6), perfect["exact_match"]) == (
        100,
        100,
        1,
    )


def test_scores_of_hopeless_translations_are_near_zero():
    """Some resamples score exactly 0 here, on which sacrebleu's own interval fails."""
    hopeless = ["Der"] * (len(REFERENCES) - 1) + ["Der Koch erhitzt den Topf"]
    result = scores(hopeless, REFERENCES, 200)
    assert 0 <= result["bleu"] < 5
    assert result["bleu_interval"] >= 0


def test_scores_of_another_number_of_lines_are_refused():
    with pytest.raises(ValueError, match="zip"):
        scores(REFERENCES[:-1], REFERENCES, 100)


def test_compare_sign_and_significance():
    better = compare(GOOD, POOR, REFERENCES, 200)
    worse = compare(POOR, GOOD, REFERENCES, 200)
    assert better["bleu"]["difference"] > 0 > worse["bleu"]["difference"]
    assert better["bleu"]["p_value"] < 0.05
    assert compare(GOOD, GOOD, REFERENCES, 200)["bleu"] == {"difference": 0.0, "p_value": 1.0}
