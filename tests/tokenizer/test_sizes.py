"""Vocabularies compared: Kneser–Ney by its definition, and the command as a user sees it."""

import math
import random
import re
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from pipelines.corpus.embedded import write_document
from pipelines.corpus.lexicon import read_lexicon
from pipelines.formats.corpus.files import document_file, pair_file
from pipelines.frame.errors import DataError, ParamsError
from pipelines.tokenizer.ngrams import NgramModel
from pipelines.tokenizer.sizes import main
from tests.conftest import ROOT


def _by_definition(rows, vocab_size, order, context, token):
    """p(token | context) straight from Chen & Goodman's equations, with dictionaries."""
    laid_out = [("<",) * (order - 1) + tuple(row) + (">",) for row in rows]
    counts = Counter(
        row[at - order + 1 : at + 1] for row in laid_out for at in range(order - 1, len(row))
    )
    by_length = {order: counts}
    for length in range(order - 1, 0, -1):
        counts = Counter(ngram[1:] for ngram in counts)  # different tokens before each
        by_length[length] = counts
    probability = 1 / (vocab_size + 1)
    for length in range(1, order + 1):
        counts = by_length[length]
        seen = Counter(counts.values())
        discount = seen[1] / (seen[1] + 2 * seen[2]) if seen[1] and seen[2] else 0.5
        before = tuple(context[len(context) - length + 1 :])
        after = {ngram: count for ngram, count in counts.items() if ngram[:-1] == before}
        if total := sum(after.values()):
            kept = max(after.get((*before, token), 0) - discount, 0)
            probability = (kept + discount * len(after) * probability) / total
    return probability


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_probabilities_are_those_of_the_definition_and_sum_to_one(order):
    rng = random.Random(order)
    rows = [[rng.randrange(6) for _ in range(rng.randrange(7))] for _ in range(40)]
    held_out = [[0, 5, 3, 3], [], [1, 1], [6, 0]]  # 6 was never seen
    model = NgramModel(rows, vocab_size=7, order=order)
    found = iter(model.probabilities(held_out))
    for row in held_out:
        history = ["<"] * (order - 1)
        for token in [*row, ">"]:
            assert next(found) == pytest.approx(
                _by_definition(rows, 7, order, history, token), rel=1e-12
            )
            history.append(token)
    assert next(found, None) is None
    begin = [2, 4]
    # The end of [2, 4], and [2, 4, token]'s third: all that can follow these two.
    following = [model.probabilities([[*begin, token]])[2] for token in range(7)]
    assert sum(following) + model.probabilities([begin])[2] == pytest.approx(1, rel=1e-12)


def test_bits_are_those_of_all_tokens_and_ends():
    model = NgramModel([[1, 2]], vocab_size=3)
    rows = [[1, 2], [3]]
    assert model.bits(rows) == pytest.approx(
        -sum(math.log2(one) for one in model.probabilities(rows))
    )
    assert model.bits([[1, 2]]) < model.bits([[2, 1]])


def _corpus(folder: Path, monkeypatch: pytest.MonkeyPatch, valid: str = "") -> None:
    """Text of the embedded grammar; a line more in the validation documents."""
    monkeypatch.chdir(folder)
    (folder / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    lexicon = read_lexicon(ROOT / "data/raw/embedded")
    text: dict[str, dict[str, str]] = defaultdict(dict)
    for split, count in (("train", 200), ("valid", 20)):
        pairs = [p for n in range(count) for p in write_document(lexicon, 1, f"sizes {split}", n)]
        for side, language in (("english", "en"), ("german", "de")):
            text[split][language] = "".join(f"{getattr(pair, side)}\n" for pair in pairs)
    corpus = folder / "data/corpus"
    corpus.mkdir(parents=True)
    for split, by_language in text.items():
        for language, lines in by_language.items():
            document_file(corpus, split, language).write_text(lines + valid * (split == "valid"))
            pair_file(corpus, split, language).write_text("")


def test_sizes_are_compared_up_to_what_the_text_can_fill(tmp_path, monkeypatch, capsys):
    _corpus(tmp_path, monkeypatch, valid="Ж\n")
    assert main(["300", "100000", "200000"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "2 held-out lines with characters of no training line are left out"
    rows = [re.split(" +", line) for line in printed[2:7]]
    assert [row[0] for row in rows] == ["characters", "wordpiece", "bpe", "wordpiece", "bpe"]
    assert rows[1][1] == rows[2][1] == "300"
    assert rows[3][1] == rows[4][1]
    assert int(rows[3][1].replace(",", "")) < 100_000  # all there is, so 200,000 is not tried
    means = [float(row[3]) for row in rows]
    for mean, row in zip(means, rows, strict=True):
        assert mean == pytest.approx((float(row[4]) + float(row[5])) / 2, abs=0.0011)
    best = rows[means.index(min(means))]
    assert printed[7] == f"fewest bits: {best[0]} of {best[1]}"
    assert max(map(len, printed)) <= 80
    assert not (tmp_path / "data/tokenizer").exists()


@pytest.mark.parametrize(
    ("given", "error", "told"),
    [
        (["much"], ParamsError, r"SIZE \('much'\) must be a number of pieces from 64 to 1048576"),
        (["64"], DataError, r"vocab_size \(64\) must be at least \d+: the training text has"),
    ],
)
def test_sizes_that_cannot_be_are_told(tmp_path, monkeypatch, given, error, told):
    _corpus(tmp_path, monkeypatch)
    with pytest.raises(error, match=told):
        main(given)


def test_sizes_need_a_corpus_whose_held_out_text_can_be_spelt(tmp_path, monkeypatch):
    _corpus(tmp_path, monkeypatch)
    for language in ("en", "de"):
        document_file(Path("data/corpus"), "valid", language).write_text("Ж\n")
    with pytest.raises(DataError, match=r"validation text: en \('1 lines'\) must have characters"):
        main([])
    monkeypatch.chdir(tmp_path / "data")
    Path("params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    with pytest.raises(DataError, match=r"must be made first; run dvc repro corpus"):
        main([])
