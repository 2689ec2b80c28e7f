"""German from the grammar against forms looked up in a grammar book (Duden, Die Grammatik:
declension of
adjectives after definite and indefinite article; verb-second and verb-final order; separable
verbs)."""

import pytest

from pipelines.corpus.grammar import Clause, Name, NounPhrase
from pipelines.corpus.lexicon import read_lexicon
from tests.conftest import ROOT

LEXICON = read_lexicon(ROOT / "data/raw/embedded")


def _noun(english: str, topic: str):
    return next(noun for noun in LEXICON.nouns if (noun.english, noun.topic) == (english, topic))


def _verb(english: str):
    return next(verb for verb in LEXICON.verbs if verb.english == english)


def _phrase(english: str, topic: str, **options):
    noun = _noun(english, topic)
    return NounPhrase(noun, adjective=noun.adjectives[0], **options)


@pytest.mark.parametrize(
    ("phrase", "case", "german"),
    [
        (_phrase("pot", "kitchen"), "nominative", "der heiße Topf"),
        (_phrase("pot", "kitchen"), "accusative", "den heißen Topf"),
        (_phrase("pot", "kitchen"), "dative", "dem heißen Topf"),
        (_phrase("pot", "kitchen", definite=False), "nominative", "ein heißer Topf"),
        (_phrase("cow", "farm"), "accusative", "die braune Kuh"),
        (_phrase("cow", "farm"), "dative", "der braunen Kuh"),
        (_phrase("cow", "farm", definite=False), "dative", "einer braunen Kuh"),
        (_phrase("cow", "farm", plural=True), "dative", "den braunen Kühen"),
        (_phrase("cow", "farm", plural=True, definite=False), "accusative", "braune Kühe"),
        (_phrase("book", "school"), "nominative", "das dicke Buch"),
        (_phrase("book", "school", definite=False), "accusative", "ein dickes Buch"),
        (_phrase("farmer", "farm"), "accusative", "den starken Bauern"),  # n-declension
        (_phrase("farmer", "farm"), "nominative", "der starke Bauer"),
        (_phrase("nut", "workshop", plural=True), "dative", "den rostigen Muttern"),
    ],
)
def test_noun_phrase_german_agrees_in_gender_number_and_case(phrase, case, german):
    assert phrase.german(case) == german


@pytest.mark.parametrize(
    ("english", "topic", "located", "directed"),
    [
        ("cellar", "kitchen", "im kalten Keller", "in den kalten Keller"),
        ("classroom", "school", "im hellen Klassenzimmer", "ins helle Klassenzimmer"),
        ("kitchen", "kitchen", "in der heißen Küche", "in die heiße Küche"),
        ("market", "harbour", "auf dem lauten Markt", "auf den lauten Markt"),
    ],
)
def test_located_contracts_where_german_does(english, topic, located, directed):
    assert _phrase(english, topic).located("dative") == located
    assert _phrase(english, topic).located("accusative") == directed


COOK, POT = NounPhrase(_noun("cook", "kitchen")), NounPhrase(_noun("pot", "kitchen"))


@pytest.mark.parametrize(
    ("form", "english", "main", "subordinate"),
    [
        (
            "present",
            "the cook washes the pot",
            "der Koch wäscht den Topf ab",
            "der Koch den Topf abwäscht",
        ),
        (
            "perfect",
            "the cook has washed the pot",
            "der Koch hat den Topf abgewaschen",
            "der Koch den Topf abgewaschen hat",
        ),
        (
            "must",
            "the cook must wash the pot",
            "der Koch muss den Topf abwaschen",
            "der Koch den Topf abwaschen muss",
        ),
        (
            "negated",
            "the cook does not wash the pot",
            "der Koch wäscht den Topf nicht ab",
            "der Koch den Topf nicht abwäscht",
        ),
    ],
)
def test_clause_verb_is_second_in_main_and_last_in_subordinate_clauses(
    form, english, main, subordinate
):
    clause = Clause(COOK, _verb("wash"), POT, form)
    assert clause.english() == english
    assert clause.german() == main
    assert clause.german_subordinate() == subordinate


def test_clause_fronted_adverb_inverts_subject_and_verb():
    clause = Clause(Name("Balina"), _verb("feed"), NounPhrase(_noun("cow", "farm")))
    assert clause.german(front="heute") == "heute füttert Balina die Kuh"
    assert clause.german_question() == "füttert Balina die Kuh"
    assert clause.english_question() == "does Balina feed the cow"


def test_clause_plural_subject_takes_plural_verb():
    clause = Clause(NounPhrase(_noun("cook", "kitchen"), plural=True), _verb("wash"), POT)
    assert clause.german() == "die Köche waschen den Topf ab"
    assert clause.english() == "the cooks wash the pot"


def test_polysemous_nouns_have_two_translations():
    translations: dict[str, set[str]] = {}
    for noun in LEXICON.nouns:
        translations.setdefault(noun.english, set()).add(noun.german)
    assert sorted(word for word, german in translations.items() if len(german) > 1) == [
        *("bed", "board", "bow", "bulb", "key", "note", "nut", "pen", "scale")
    ]
