"""What the measurements mean, in words with figures: one rule for each way a training goes wrong.

A rule is a pure function of a diagnosis, so each is tested on a planted case and on healthy ones.
The thresholds stand here, once; docs/diagnosis.md tells where each is from.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

PLATEAU = 0.97  # of the unigram entropy, or of ln V: the loss has not left it
VANISHED = 0.6  # of a gradient is left after one more token: 2e-3 after a dozen
EXPLODED = 1e3  # of the end's gradient
SATURATED = 0.4  # of tanh or sigmoid outputs
DEAD = 0.3  # of ReLU units
TOO_FAST = 1.5  # times the largest stable rate
NEGATIVE = 0.04  # share of negative curvature that counts, where the loss falls along it
FALL = 0.02  # of the loss
NOISY = 8.0  # noise scale over the rows of a batch: more rows would pay
QUIET = 0.125  # the same: fewer would do
STILL, WILD = 1e-6, 0.25  # length of a step beside the weights
_PAGE = "docs/diagnosis.md"


@dataclass(frozen=True)
class Verdict:
    """One finding.

    Attributes:
        name: of the rule, and of its part of docs/diagnosis.md.
        words: what was found, with its figure.
        remedy: what to do, with the key of params.yaml.
        key: that key.
    """

    name: str
    words: str
    remedy: str
    key: str

    @property
    def page(self) -> str:
        """Where it is explained."""
        return f"{_PAGE}#{self.name.replace(' ', '-')}"

    def __str__(self) -> str:
        return f"{self.name}: {self.words}; {self.remedy} ({self.page})"


Found = Mapping[str, Any]
Rule = Callable[[Found], Verdict | None]


def verdicts(found: Found) -> list[Verdict]:
    """All rules that speak, the gravest first.

    Args:
        found: a diagnosis as `pipelines.diagnosis.diagnose` writes it; what was not measured is
            absent, and its rules are silent.
    """
    return list(_speaking(found))


def _speaking(found: Found) -> Iterator[Verdict]:
    for rule in _RULES:
        if (verdict := rule(found)) is not None:
            yield verdict


def _plateau(found: Found) -> Verdict | None:
    """The loss is what frequencies alone give: no context is used."""
    loss, floor = found.get("loss"), found.get("trivial_loss")
    if loss is None or floor is None or loss < PLATEAU * floor or loss > 1.2 * floor:
        return None
    return Verdict(
        "plateau at unigram entropy",
        f"the loss is {loss:.2f}, knowing token frequencies alone gives {floor:.2f}",
        f"raise {found['rate_key']} or initializer_range, warm up longer, or train longer",
        found["rate_key"],
    )


def _too_fast(found: Found) -> Verdict | None:
    stable = found.get("stability")
    if not stable or not stable["ratio"] > TOO_FAST:
        return None
    return Verdict(
        "learning rate above the stable step",
        f"learning rate {stable['learning_rate']:.2g} is {stable['ratio']:.1f} × above the largest "
        f"stable step, {stable['largest_stable']:.2g}",
        f"lower {found['rate_key']}, or warm up longer ({found['schedule_key']}.warmup_updates)",
        found["rate_key"],
    )


def _diverged(found: Found) -> Verdict | None:
    """Worse than knowing nothing at all."""
    loss, uniform = found.get("loss"), found.get("uniform_loss")
    if loss is None or uniform is None or loss < 1.2 * uniform:
        return None
    return Verdict(
        "diverged",
        f"the loss is {loss:.3g}, guessing uniformly gives {uniform:.3g}",
        f"lower {found['rate_key']}, warm up longer or clip gradients",
        found["rate_key"],
    )


def _distances(found: Found) -> dict[int, float]:
    """Gradients by distance from the source's end, of recurrent models that have one there."""
    told = {int(place): value for place, value in found.get("by_distance", {}).items()}
    return told if found.get("step_jacobians") and told.get(0) else {}


def _vanishing(found: Found) -> Verdict | None:
    distances = _distances(found)
    if not distances or (place := max(distances)) < 4:
        return None
    share = distances[place] / distances[0]
    left = share ** (1 / place)
    if left > VANISHED:
        return None
    return Verdict(
        "gradients vanish",
        f"{place} tokens before the end they are {share:.0e} of the last token's, {left**12:.0e} "
        "after a dozen",
        "try cell lstm or gru, or attention; clipping does not help",
        f"{found['section']}.cell",
    )


def _exploding(found: Found) -> Verdict | None:
    distances = _distances(found)
    if not distances:
        return None
    place, value = max(distances.items(), key=lambda one: one[1])
    if value / distances[0] < EXPLODED:
        return None
    return Verdict(
        "gradients explode",
        f"{place} tokens before the end they are {value / distances[0]:.0e} of the last token's",
        f"set {found['training_key']}.gradient_clip, or try cell lstm or gru",
        f"{found['training_key']}.gradient_clip",
    )


def _saturated(found: Found) -> Verdict | None:
    shares = found.get("saturated", {})
    kind = max(("tanh", "sigmoid"), key=lambda one: shares.get(one, 0.0))
    if shares.get(kind, 0.0) < SATURATED:
        return None
    return Verdict(
        "saturated units",
        f"{kind} is saturated in {shares[kind]:.0%} of units",
        f"lower {found['rate_key']} or initial weights (initializer_range), or warm up longer",
        found["rate_key"],
    )


def _dead(found: Found) -> Verdict | None:
    share = found.get("saturated", {}).get("relu", 0.0)
    if share < DEAD:
        return None
    return Verdict(
        "dead units",
        f"{share:.0%} of ReLU units are 0 on all tokens seen",
        f"set {found['section']}.activation: gelu, or lower {found['rate_key']}",
        f"{found['section']}.activation",
    )


def _saddle(found: Found) -> Verdict | None:
    point = found.get("point")
    if not point or not point["holds"] or point["negative_share"] < NEGATIVE:
        return None
    if point["fall"] < FALL * found["objective"]:
        return None
    return Verdict(
        "saddle",
        f"{point['negative_share']:.0%} negative curvature, the loss falls by {point['fall']:.2g} "
        "along it",
        "momentum or noise leads out of it: an optimizer with momentum, smaller batches, or more "
        "updates",
        f"{found['training_key']}.optimizer",
    )


def _batch(found: Found) -> Verdict | None:
    noise = found.get("noise")
    if not noise or noise["scale"] in ("inf", float("inf")):
        return None
    share = noise["scale"] / noise["rows"]
    if share > NOISY and noise["rows"] < 8:
        words = f"rows of a batch ({noise['rows']:.0f}) are {share:.0f} × below the noise scale"
        remedy = f"raise {found['batch_key']}: each update then learns almost in proportion"
        return Verdict("batch far below the noise scale", words, remedy, found["batch_key"])
    if 0 < share < QUIET:
        words = f"rows of a batch ({noise['rows']:.0f}) are {1 / share:.0f} × the noise scale"
        remedy = f"halving {found['batch_key']} costs nothing"
        return Verdict("batch above the noise scale", words, remedy, found["batch_key"])
    return None


def _steps(found: Found) -> Verdict | None:
    """Layers that do not move, or are thrown over, while the learning rate is at work."""
    layers = found.get("layers", {})
    ratios = {name: layer["ratio"] for name, layer in layers.items() if layer["ratio"] > 0}
    if not ratios or not found.get("learning_rate"):
        return None
    at_work = found["learning_rate"] >= 0.1 * found["peak_rate"]  # it has not come down yet
    name = max(ratios, key=lambda one: ratios[one])
    if ratios[name] > WILD:
        return Verdict(
            "steps too long",
            f"a step changes {name} by {ratios[name]:.0%} of its length",
            f"lower {found['rate_key']}",
            found["rate_key"],
        )
    if at_work and max(ratios.values()) < STILL:
        return Verdict(
            "steps too short",
            f"no layer changes by more than {max(ratios.values()):.0e} of its length an update",
            f"raise {found['rate_key']}",
            found["rate_key"],
        )
    return None


_RULES: tuple[Rule, ...] = (
    _diverged,
    _too_fast,
    _plateau,
    _vanishing,
    _exploding,
    _saturated,
    _dead,
    _saddle,
    _steps,
    _batch,
)
