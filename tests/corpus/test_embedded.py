"""The embedded corpus: reproducible, coherent, and without a leak from the test set."""

import shutil
from itertools import pairwise

import pytest

from pipelines.corpus.embedded import write_document
from pipelines.corpus.lexicon import read_lexicon
from pipelines.corpus.params import EmbeddedReader
from pipelines.corpus.prepare import embedded_corpus
from pipelines.frame.errors import DataError
from tests.conftest import ROOT

LEXICON = read_lexicon(ROOT / "data/raw/embedded")
SIZES = EmbeddedReader(
    kind="embedded",
    num_documents=800,
    num_validation_documents=50,
    num_training_pairs=300,
    num_validation_pairs=100,
    num_test_pairs=300,
)


@pytest.fixture(scope="module")
def corpus():
    return embedded_corpus(LEXICON, 1, SIZES, ("en", "de"))


def test_write_document_is_a_function_of_its_arguments():
    assert write_document(LEXICON, 1, "train", 7) == write_document(LEXICON, 1, "train", 7)
    assert write_document(LEXICON, 1, "train", 7) != write_document(LEXICON, 2, "train", 7)


@pytest.mark.parametrize("side", [0, 1])
def test_embedded_corpus_no_test_sentence_occurs_elsewhere(corpus, side):
    language = corpus.languages[side]
    seen = {pair[side] for split in ("train", "valid") for pair in corpus.pairs[split]}
    for split in ("train", "valid"):
        seen |= {
            sentence for document in corpus.documents[split, language] for sentence in document
        }
    assert not seen & {pair[side] for pair in corpus.pairs["test"]}
    assert corpus.report()["test_sentences_seen"] == {"en": 0, "de": 0}


def test_embedded_corpus_has_the_sizes_asked_for(corpus):
    assert {split: len(pairs) for split, pairs in corpus.pairs.items()} == {
        "train": 300,
        "valid": 100,
        "test": 300,
    }
    assert all(len(set(pairs)) == len(pairs) for pairs in corpus.pairs.values())
    assert len(corpus.documents["train", "en"]) == len(corpus.documents["train", "de"]) == 800


def test_embedded_corpus_things_persist_through_a_document(corpus):
    """A noun of a document is far likelier to come back in it than in the next document."""
    nouns = {noun.english for noun in LEXICON.nouns if noun.kind == "thing"}
    documents = [
        {word for line in document for word in line.rstrip(".?").split()} & nouns
        for document in corpus.documents["train", "en"]
    ]
    halves = [
        (
            {w for s in d[: len(d) // 2] for w in s.rstrip(".?").split()} & nouns,
            {w for s in d[len(d) // 2 :] for w in s.rstrip(".?").split()} & nouns,
        )
        for d in corpus.documents["train", "en"]
    ]
    same = sum(len(a & b) for a, b in halves)
    other = sum(len(a & b) for (a, _), (_, b) in pairwise(halves))
    assert max(map(len, documents)) <= 4
    assert same > 5 * other


def test_embedded_corpus_languages_may_be_swapped():
    swapped = embedded_corpus(LEXICON, 1, SIZES, ("de", "en"))
    straight = embedded_corpus(LEXICON, 1, SIZES, ("en", "de"))
    assert swapped.pairs["test"] == [
        (german, english) for english, german in straight.pairs["test"]
    ]


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("nouns.tsv", "hot,heavy,full", "hot,heavvy,full", r"nouns\.tsv:5: adjective \('heavvy'\)"),
        ("verbs.tsv", "kitchen\theat\t", "kitchen\t", r"verbs\.tsv:2: row .* must have 8 columns"),
        ("adjectives.tsv", "english\tgerman", "englisch\tgerman", r"adjectives\.tsv:1: columns"),
    ],
)
def test_read_lexicon_damaged_table_names_file_and_line(tmp_path, name, old, new, message):
    folder = tmp_path / "lexicon"
    shutil.copytree(ROOT / "data/raw/embedded", folder)
    (folder / name).write_text((folder / name).read_text().replace(old, new, 1))
    with pytest.raises(DataError, match=message):
        read_lexicon(folder)
