"""Experiments side by side, of what DVC tells of them."""

import dvc.api

from flows import compare

ROWS = [
    {"Experiment": None, "rev": "workspace", "bleu.gru": 12.5, "decoding.beam_size": 5.0,
     "data/bert": "0123abc", "Created": None, "tracking.entity": None},
    {"Experiment": "wider", "rev": "1a2b3c4", "bleu.gru": 13.25, "decoding.beam_size": 10.0,
     "data/bert": "4567def", "Created": "today", "tracking.entity": None},
    {"Experiment": None, "rev": "HEAD", "bleu.gru": "!", "decoding.beam_size": "!"},
    {"Experiment": "failed", "rev": "5d6e7f8", "decoding.beam_size": 3.0},
]  # fmt: skip


def test_settings_and_scores_that_differ_among_those_that_have_scores(monkeypatch, capsys):
    """A row that DVC could not read, or that has no scores, is no column."""
    monkeypatch.setattr(dvc.api, "exp_show", lambda: ROWS)
    assert compare.table(compare.columns()) == [
        ["", "workspace", "wider"],
        ["decoding.beam_size", "5", "10"],
        ["bleu.gru", "12.50", "13.25"],
    ]
    assert compare.main() == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


def test_nothing_to_compare_says_how_there_would_be(monkeypatch, capsys):
    monkeypatch.setattr(dvc.api, "exp_show", lambda: ROWS[:1])
    assert compare.main() == 0
    assert "dvc exp save --name first" in capsys.readouterr().out
