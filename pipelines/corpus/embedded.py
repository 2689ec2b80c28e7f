"""The embedded corpus: short English documents with their German counterparts.

A document has a topic and a cast: a named person, two roles, three things and a place, each with
one adjective of its own, and three verbs. All of it persists through the document, so that
neighbouring sentences belong together (what NSP learns) and a masked word follows from the others
(what MLM learns).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from pipelines.corpus.grammar import Clause, Form, Name, NounPhrase, Phrase
from pipelines.corpus.lexicon import Lexicon, Noun, Verb
from pipelines.formats.randomness import generator

T = TypeVar("T")

_ADVERBS = (
    ("today", "heute"),
    ("now", "jetzt"),
    ("often", "oft"),
    ("then", "dann"),
    ("in the morning", "am Morgen"),
    ("in the evening", "am Abend"),
)
_DOINGS = (("laughs", "lacht"), ("waits", "wartet"), ("sings", "singt"), ("rests", "ruht"))
_GIVING = (("gives", "gibt", ""), ("shows", "zeigt", ""), ("brings", "bringt", "mit"))
_FORMS: tuple[Form, ...] = ("present", "present", "present", "perfect", "must", "can", "negated")
_PLACING = {"stand": "stellt", "lie": "legt"}


@dataclass(frozen=True)
class Pair:
    """One sentence in both languages."""

    english: str
    german: str


@dataclass(frozen=True)
class Cast:
    """Who and what a document is about."""

    hero: Name
    roles: tuple[NounPhrase, ...]
    things: tuple[NounPhrase, ...]
    place: NounPhrase
    verbs: tuple[Verb, ...]


class Author:
    """Writes the document of one random generator, sentence by sentence."""

    def __init__(self, lexicon: Lexicon, rng: np.random.Generator) -> None:
        self._rng = rng
        self._cast = self._choose_cast(lexicon)
        self._mentioned: set[str] = set()

    def write(self, num_sentences: int) -> list[Pair]:
        """The next sentences of the document."""
        return [self._sentence() for _ in range(num_sentences)]

    def _choose_cast(self, lexicon: Lexicon) -> Cast:
        topic = self._pick(lexicon.topics)
        return Cast(
            hero=self._name(lexicon),
            roles=tuple(
                self._phrase(noun, 0.15)
                for noun in self._sample(lexicon.nouns_of(topic, "person"), 2)
            ),
            things=tuple(
                self._phrase(noun, 0.25)
                for noun in self._sample(lexicon.nouns_of(topic, "thing"), 3)
            ),
            place=self._phrase(self._pick(lexicon.nouns_of(topic, "place")), 0.0),
            verbs=tuple(self._sample(lexicon.verbs_of(topic), 3)),
        )

    def _name(self, lexicon: Lexicon) -> Name:
        first, middle, last = (
            self._pick(lexicon.syllables)[part] for part in ("first", "middle", "last")
        )
        return Name(first + middle + last)

    def _phrase(self, noun: Noun, plural_rate: float) -> NounPhrase:
        plural = bool(self._rng.random() < plural_rate)
        return NounPhrase(noun, plural, adjective=self._pick(noun.adjectives))

    def _sentence(self) -> Pair:
        template: Callable[[], tuple[str, str, str]] = self._pick(
            [
                *[self._statement] * 4,
                *[self._fronted] * 3,
                self._said,
                self._because,
                self._when,
                self._acquaintance,
                self._giving,
                self._quality,
                self._relative,
                self._two_deeds,
                self._going,
                self._placing,
                self._question,
            ]
        )
        english, german, end = template()
        return Pair(_capital(english) + end, _capital(german) + end)

    # Each template returns English, German and the closing mark.

    def _statement(self) -> tuple[str, str, str]:
        clause = self._clause()
        return clause.english(), clause.german(), "."

    def _fronted(self) -> tuple[str, str, str]:
        clause, (english, german) = self._clause(), self._pick(_ADVERBS)
        return f"{english} {clause.english()}", clause.german(front=german), "."

    def _said(self) -> tuple[str, str, str]:
        clause = self._clause()
        english, german = self._pick((("says", "sagt"), ("knows", "weiß"), ("hopes", "hofft")))
        who = self._singular()
        return (
            f"{who.english()} {english} that {clause.english()}",
            f"{who.german('nominative')} {german}, dass {clause.german_subordinate()}",
            ".",
        )

    def _because(self) -> tuple[str, str, str]:
        clause, (english, german) = self._clause(), self._pick(_DOINGS)
        who = self._singular()
        return (
            f"{who.english()} {english} because {clause.english()}",
            f"{who.german('nominative')} {german}, weil {clause.german_subordinate()}",
            ".",
        )

    def _when(self) -> tuple[str, str, str]:
        clause, (english, german) = self._clause(), self._pick(_DOINGS)
        who = self._singular()
        return (
            f"when {clause.english()}, {who.english()} {english}",
            f"wenn {clause.german_subordinate()}, {german} {who.german('nominative')}",
            ".",
        )

    def _acquaintance(self) -> tuple[str, str, str]:
        who, other = self._two_people()
        return (
            f"{who.english()} knows {other.english()}",
            f"{who.german('nominative')} kennt {other.german('accusative')}",
            ".",
        )

    def _giving(self) -> tuple[str, str, str]:
        (who, receiver), thing = self._two_people(), self._thing()
        english, german, prefix = self._pick(_GIVING)
        closing = f" {prefix}" if prefix else ""
        return (
            f"{who.english()} {english} {receiver.english()} {thing.english()}",
            f"{who.german('nominative')} {german} {receiver.german('dative')} "
            f"{thing.german('accusative')}{closing}",
            ".",
        )

    def _quality(self) -> tuple[str, str, str]:
        subject = self._pick((*self._cast.things, *self._cast.roles))
        bare, adjective = replace(subject, adjective=None), subject.adjective
        assert adjective is not None  # everybody in the cast has one
        be, sein = ("are", "sind") if subject.plural else ("is", "ist")
        return (
            f"{bare.english()} {be} {adjective.english}",
            f"{bare.german('nominative')} {sein} {adjective.german}",
            ".",
        )

    def _relative(self) -> tuple[str, str, str]:
        subject = replace(self._pick(self._cast.roles), adjective=None)
        clause = self._clause(subject)
        pronoun = (
            "die" if subject.plural else {"m": "der", "f": "die", "n": "das"}[subject.noun.gender]
        )
        be, sein = ("are", "sind") if subject.plural else ("is", "ist")
        quality = self._pick(subject.noun.adjectives)
        deed = f"{clause.english_predicate()} {clause.object.english()}"
        return (
            f"{subject.english()} who {deed} {be} {quality.english}",
            f"{subject.german('nominative')}, {pronoun} "
            f"{replace(clause, place=None).german_verb_final()}, {sein} {quality.german}",
            ".",
        )

    def _two_deeds(self) -> tuple[str, str, str]:
        first, second = self._sample(self._cast.verbs, 2)
        thing, who = self._thing(), self._singular()
        clause = Clause(who, first, thing)
        english, german = thing.pronoun()
        tail = f" {second.german_prefix}" if second.german_prefix else ""
        return (
            f"{clause.english()} and {second.english_third} {english}",
            f"{clause.german()} und {second.german_third} {german}{tail}",
            ".",
        )

    def _going(self) -> tuple[str, str, str]:
        who, place = self._singular(), self._place()
        return (
            f"{who.english()} goes into {place.english()}",
            f"{who.german('nominative')} geht {place.located('accusative')}",
            ".",
        )

    def _placing(self) -> tuple[str, str, str]:
        movable = [thing for thing in self._cast.things if thing.noun.placing]
        others = [thing for thing in self._cast.things if not movable or thing is not movable[0]]
        if not movable or not others:
            return self._statement()
        thing = self._mention(movable[0])
        beside = self._mention(self._pick(others))
        who = self._singular()
        puts = _PLACING[thing.noun.placing]
        return (
            f"{who.english()} puts {thing.english()} next to {beside.english()}",
            f"{who.german('nominative')} {puts} {thing.german('accusative')} neben "
            f"{beside.german('accusative')}",
            ".",
        )

    def _question(self) -> tuple[str, str, str]:
        clause = replace(self._clause(), form="present")
        return clause.english_question(), clause.german_question(), "?"

    # The parts of a sentence, taken from the cast.

    def _clause(self, subject: Phrase | None = None) -> Clause:
        form = self._pick(_FORMS)
        place = self._place() if form != "negated" and self._rng.random() < 0.25 else None
        if subject is None:
            subject = self._cast.hero if self._rng.random() < 0.3 else self._role()
        return Clause(subject, self._pick(self._cast.verbs), self._thing(), form, place)

    def _singular(self) -> Phrase:
        """Somebody, one person only: the named one or a role."""
        roles = [role for role in self._cast.roles if not role.plural]
        return (
            self._mention(self._pick(roles))
            if roles and self._rng.random() < 0.6
            else self._cast.hero
        )

    def _two_people(self) -> tuple[Phrase, NounPhrase]:
        """One person, and somebody else."""
        first, second = self._sample(self._cast.roles, 2)
        who = self._cast.hero if first.plural or self._rng.random() < 0.5 else self._mention(first)
        return who, self._mention(second)

    def _role(self) -> NounPhrase:
        return self._mention(self._pick(self._cast.roles))

    def _thing(self) -> NounPhrase:
        return self._mention(self._pick(self._cast.things))

    def _place(self) -> NounPhrase:
        return self._shortened(self._cast.place)

    def _mention(self, phrase: NounPhrase) -> NounPhrase:
        """The phrase as it is said this time: sometimes indefinite at first,
        often without adjective.
        """
        new = phrase.noun.german not in self._mentioned
        self._mentioned.add(phrase.noun.german)
        return replace(self._shortened(phrase), definite=not (new and self._rng.random() < 0.5))

    def _shortened(self, phrase: NounPhrase) -> NounPhrase:
        return phrase if self._rng.random() < 0.5 else replace(phrase, adjective=None)

    def _pick(self, choices: Sequence[T]) -> T:
        return choices[int(self._rng.integers(len(choices)))]

    def _sample(self, choices: Sequence[T], count: int) -> list[T]:
        order = self._rng.permutation(len(choices))[:count]
        return [choices[int(index)] for index in order]


def write_document(lexicon: Lexicon, seed: int, purpose: str, index: int) -> list[Pair]:
    """Document ``index`` of a purpose: six to nine sentences, a function of its arguments alone."""
    rng = generator(seed, f"embedded {purpose}", index)
    num_sentences = int(rng.integers(6, 10))
    return Author(lexicon, rng).write(num_sentences)


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
