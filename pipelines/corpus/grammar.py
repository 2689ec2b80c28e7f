"""Phrases and clauses that can say themselves in English and in German.

One tree, two surface forms: agreement in gender, number and case, the verb in second place in
German main clauses and last in subordinate ones, separable prefixes and participles closing the
bracket.
"""

from dataclasses import dataclass
from typing import Literal, Protocol

from pipelines.corpus.lexicon import Adjective, Noun, Verb

Case = Literal["nominative", "accusative", "dative"]
Form = Literal["present", "perfect", "must", "can", "negated"]

_DEFINITE = {
    "nominative": {"m": "der", "f": "die", "n": "das", "plural": "die"},
    "accusative": {"m": "den", "f": "die", "n": "das", "plural": "die"},
    "dative": {"m": "dem", "f": "der", "n": "dem", "plural": "den"},
}
_INDEFINITE = {
    "nominative": {"m": "ein", "f": "eine", "n": "ein"},
    "accusative": {"m": "einen", "f": "eine", "n": "ein"},
    "dative": {"m": "einem", "f": "einer", "n": "einem"},
}
_ENDING_AFTER_DEFINITE = {"nominative": "e", "accusative": "e", "dative": "en"}
_ENDING_AFTER_INDEFINITE = {
    "nominative": {"m": "er", "f": "e", "n": "es"},
    "accusative": {"m": "en", "f": "e", "n": "es"},
    "dative": {"m": "en", "f": "en", "n": "en"},
}
_PRONOUN = {"m": "ihn", "f": "sie", "n": "es", "plural": "sie"}
_CONTRACTION = {"in dem": "im", "in das": "ins"}


class Phrase(Protocol):
    """Anything that can be a subject or an object."""

    @property
    def plural(self) -> bool: ...

    def english(self) -> str: ...

    def german(self, case: Case) -> str: ...


@dataclass(frozen=True)
class Name:
    """A person's name, the same in both languages and all cases."""

    text: str
    plural: bool = False

    def english(self) -> str:
        return self.text

    def german(self, case: Case) -> str:
        return self.text


@dataclass(frozen=True)
class NounPhrase:
    """A noun phrase: article, adjective and noun."""

    noun: Noun
    plural: bool = False
    definite: bool = True
    adjective: Adjective | None = None

    def english(self) -> str:
        noun = self.noun.english_plural if self.plural else self.noun.english
        words = [self.adjective.english, noun] if self.adjective else [noun]
        if self.definite:
            return " ".join(["the", *words])
        article = [] if self.plural else ["an" if words[0][0] in "aeiou" else "a"]
        return " ".join([*article, *words])

    def german(self, case: Case) -> str:
        words = [self._article(case)] if self.definite or not self.plural else []
        if self.adjective:
            words.append(self.adjective.german + self._ending(case))
        return " ".join([*words, self._german_noun(case)])

    def pronoun(self) -> tuple[str, str]:
        """The object pronoun in English and in German."""
        return ("them" if self.plural else "it"), _PRONOUN[
            "plural" if self.plural else self.noun.gender
        ]

    def located(self, case: Case) -> str:
        """The place with its German preposition, contracted where German does."""
        preposition, article, rest = f"{self.noun.placing} {self.german(case)}".split(" ", 2)
        start = f"{preposition} {article}"
        return f"{_CONTRACTION.get(start, start)} {rest}"

    def _article(self, case: Case) -> str:
        gender = "plural" if self.plural else self.noun.gender
        return (_DEFINITE if self.definite else _INDEFINITE)[case][gender]

    def _ending(self, case: Case) -> str:
        if self.plural:
            if self.definite or case == "dative":
                return "en"
            return "e"
        if not self.definite:
            return _ENDING_AFTER_INDEFINITE[case][self.noun.gender]
        if case == "accusative" and self.noun.gender == "m":
            return "en"
        return _ENDING_AFTER_DEFINITE[case]

    def _german_noun(self, case: Case) -> str:
        if self.plural:
            noun = self.noun.german_plural
            return noun + "n" if case == "dative" and noun[-1] not in "ns" else noun
        return (
            self.noun.german_oblique
            if case != "nominative" and self.noun.german_oblique
            else self.noun.german
        )


@dataclass(frozen=True)
class Clause:
    """Somebody does something to something, perhaps somewhere."""

    subject: Phrase
    verb: Verb
    object: Phrase
    form: Form = "present"
    place: NounPhrase | None = None

    def english(self) -> str:
        return _join(
            self.subject.english(),
            self.english_predicate(),
            self.object.english(),
            self._english_place(),
        )

    def english_question(self) -> str:
        """A yes-no question in the present tense."""
        do = "do" if self.subject.plural else "does"
        return _join(
            do,
            self.subject.english(),
            self.verb.english,
            self.object.english(),
            self._english_place(),
        )

    def _english_place(self) -> str:
        return f"in {self.place.english()}" if self.place else ""

    def english_predicate(self) -> str:
        """The verb group in the form the subject asks for."""
        verb, plural = self.verb, self.subject.plural
        return {
            "present": verb.english if plural else verb.english_third,
            "perfect": f"{'have' if plural else 'has'} {verb.english_participle}",
            "must": f"must {verb.english}",
            "can": f"can {verb.english}",
            "negated": f"{'do' if plural else 'does'} not {verb.english}",
        }[self.form]

    def german(self, front: str = "") -> str:
        """A main clause: the finite verb second, whatever stands first."""
        finite, tail = self._bracket()
        subject = self.subject.german("nominative")
        opening = [front, finite, subject] if front else [subject, finite]
        return _join(*opening, *self._middle(), tail)

    def german_question(self) -> str:
        """A yes-no question: the finite verb first."""
        finite, tail = self._bracket()
        return _join(finite, self.subject.german("nominative"), *self._middle(), tail)

    def german_subordinate(self) -> str:
        """A subordinate clause: the finite verb last, a separable prefix joined to it."""
        return _join(self.subject.german("nominative"), self.german_verb_final())

    def german_verb_final(self) -> str:
        """What follows the subject, or the relative pronoun, of a subordinate clause."""
        finite, tail = self._bracket()
        joined = tail + finite if self.form in ("present", "negated") else f"{tail} {finite}"
        return _join(*self._middle(), joined)

    def _middle(self) -> list[str]:
        return [
            self.object.german("accusative"),
            self.place.located("dative") if self.place else "",
            "nicht" if self.form == "negated" else "",
        ]

    def _bracket(self) -> tuple[str, str]:
        """The finite verb and what closes the clause."""
        verb, plural = self.verb, self.subject.plural
        present = verb.german_plural if plural else verb.german_third
        return {
            "present": (present, verb.german_prefix),
            "negated": (present, verb.german_prefix),
            "perfect": ("haben" if plural else "hat", verb.german_participle),
            "must": ("müssen" if plural else "muss", verb.german),
            "can": ("können" if plural else "kann", verb.german),
        }[self.form]


def _join(*words: str) -> str:
    return " ".join(word for word in words if word)
