"""How many answers are right."""

import math
from collections import Counter
from collections.abc import Sequence

from pipelines.classification.examples import Example


def accuracy_and_f1(labels: Sequence[str], answers: Sequence[str]) -> dict[str, float]:
    """Accuracy with half the width of its 95 % interval (normal approximation),
    and macro-averaged F1.
    """
    accuracy = sum(label == answer for label, answer in zip(labels, answers, strict=True)) / len(
        labels
    )
    return {
        "test_accuracy": accuracy,
        "test_accuracy_interval": 1.96 * math.sqrt(accuracy * (1 - accuracy) / len(labels)),
        "test_macro_f1": _macro_f1(labels, answers),
    }


def _macro_f1(labels: Sequence[str], answers: Sequence[str]) -> float:
    """The mean over labels of 2·TP / (2·TP + FP + FN)."""
    wanted, given = Counter(labels), Counter(answers)
    right = Counter(label for label, answer in zip(labels, answers, strict=True) if label == answer)
    names = wanted.keys() | given.keys()
    return sum(2 * right[name] / (wanted[name] + given[name]) for name in sorted(names)) / len(
        names
    )


def majority_accuracy(train: Sequence[Example], test: Sequence[Example]) -> float:
    """Test accuracy, 0 to 1, of always answering the commonest training label."""
    [(commonest, _)] = Counter(example.label for example in train).most_common(1)
    return sum(example.label == commonest for example in test) / len(test)
