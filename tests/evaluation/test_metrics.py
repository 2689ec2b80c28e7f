"""Scores against sacrebleu's own command line; the winner of a comparison is the better system."""

import json
import sys

import pytest

from pipelines.evaluation.metrics import compare, scores
from tests.conftest import ROOT, run_in

REFERENCES = [
    "Der Koch erhitzt den Topf.",
    "Heute füttert Balina die braune Kuh im Stall.",
    "Weiß der Hirte, dass die Ziege klein ist?",
    "Der Matrose, der das Seil zieht, ist stark.",
] * 10
GOOD = [line.replace("Topf", "Löffel") for line in REFERENCES]
POOR = [line.replace("der", "die").replace("Der", "Das").replace("ist", "sind") for line in REFERENCES]


@pytest.mark.parametrize("lowercase", [False, True])
def test_scores_equal_sacrebleus_command_line(tmp_path, lowercase):
    for name, lines in (("ref", REFERENCES), ("hyp", POOR)):
        (tmp_path / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "sacrebleu",
        str(tmp_path / "ref"),
        "-i",
        str(tmp_path / "hyp"),
        *["-lc"] * lowercase,
    ]
    result = run_in(
        ROOT, *command, "-m", "bleu", "chrf", "-w", "4", "--confidence", "--confidence-n", "200", "-f", "json"
    )
    expected = {item["name"]: item for item in json.loads(result.stdout)}
    ours = scores(POOR, REFERENCES, 200, lowercase=lowercase)
    assert ours["bleu"] == expected["BLEU"]["score"]
    assert ours["chrf"] == expected["chrF2"]["score"]
    assert ours["bleu_interval"] == expected["BLEU"]["confidence_var"]
    assert expected["BLEU"]["signature"].split("|version")[0] in ours["bleu_signature"]


def test_scores_of_lower_cased_text_are_blind_to_case():
    without_nouns = [line.capitalize() for line in REFERENCES]
    assert scores(without_nouns, REFERENCES, 100)["exact_match"] == 0
    assert scores(without_nouns, REFERENCES, 100, lowercase=True)["exact_match"] == 1


def test_scores_of_the_references_themselves_are_perfect():
    perfect = scores(REFERENCES, REFERENCES, 100)
    assert (round(perfect["bleu"], 6), round(perfect["chrf"], 6), perfect["exact_match"]) == (100, 100, 1)


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
