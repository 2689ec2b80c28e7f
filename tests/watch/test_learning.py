"""What is seen of a training while it learns, against closed forms."""

import json
import math

import pytest
import torch

from pipelines.frame.records import Records
from pipelines.watch.forecast import Forecast
from pipelines.watch.learning import Learning, critical_step, noise_scale, ratios


@pytest.mark.parametrize("guess", [0.01, 1.0, 7.0, 300.0])
@pytest.mark.parametrize("minimum", [0.4, 1.0, 12.0])
def test_critical_step_of_a_parabola_is_twice_the_way_to_its_minimum(guess, minimum):
    seen = []

    def loss(place):
        seen.append(place)
        return 3.0 + (place - minimum) ** 2

    found = critical_step(loss, guess, passes=9)
    assert found == pytest.approx(2 * minimum, rel=0.25)
    assert len(seen) == 10
    assert critical_step(loss, 2 * minimum) == pytest.approx(2 * minimum, rel=0.02)


def test_critical_step_where_the_loss_never_rises_or_is_not_finite():
    assert critical_step(lambda place: -place, 2.0, passes=9) == math.inf
    assert critical_step(lambda place: place, 2.0) < 0.1  # it rises at once
    broken = critical_step(lambda place: math.nan if place > 1 else -place, 2.0, passes=9)
    assert broken == pytest.approx(1.0, rel=0.3)


def test_ratios_are_lengths_of_steps_over_lengths_of_weights():
    weight, bias = torch.full((2, 2), 2.0), torch.full((3,), 1.0)
    found = ratios([("w", weight), ("b", bias)], [weight * 0.5, bias])
    assert found["update_ratio/w"] == pytest.approx(1.0)
    assert "update_ratio/b" not in found
    assert found["update_ratio"] == pytest.approx(2 / (4 + 3) ** 0.5)


def test_noise_scale_of_planted_micro_batches():
    """Micro-batches' gradients G + noise of variance 1 in P places; shares are a part of each."""
    torch.manual_seed(0)
    P, parts, values = 2000, 8, []
    true = torch.full((P,), 0.3)
    for _ in range(60):
        gradients = true + torch.randn(parts, P)
        small = (gradients[0] / parts).square().sum().item()
        whole = gradients.mean(dim=0).square().sum().item()
        values.append(noise_scale(small, whole, parts))
    assert sum(values) / len(values) == pytest.approx(P / true.square().sum().item(), rel=0.1)
    assert noise_scale(1.0, 0.0, 4) == math.inf


def _forecast(losses, norms, *, adaptive=False):
    forecast = Forecast(adaptive=adaptive)
    said = [
        (number, told)
        for number, (loss, norm) in enumerate(zip(losses, norms, strict=True), start=1)
        if (told := forecast.add(number, loss, norm))
    ]
    return forecast, said


def _noisy(level, count, seed=0):
    torch.manual_seed(seed)
    return (level * (1 + 0.1 * torch.randn(count)).clamp(min=0.5)).tolist()


def test_forecast_flags_what_grows_and_says_so_once():
    losses = _noisy(6.0, 100) + [6.0 * 1.1**n for n in range(40)]
    norms = _noisy(1.0, 100, 1) + [1.15**n for n in range(40)]
    forecast, said = _forecast(losses, norms)
    assert 100 < forecast.flagged < 115
    assert [number for number, _ in said] == [forecast.flagged]
    assert "it is about to diverge: in 4 updates gradients grew" in said[0][1]
    assert "lower learning_rate, warm up longer, or set gradient_clip" in said[0][1]


@pytest.mark.parametrize("adaptive", [False, True])
def test_forecast_is_silent_on_noise_on_falling_losses_and_on_larger_gradients_alone(adaptive):
    falling = [8 * 0.99**n for n in range(300)]
    assert not _forecast(_noisy(6.0, 300), _noisy(1.0, 300, 1), adaptive=adaptive)[1]
    assert not _forecast(falling, [1 + n / 30 for n in range(300)], adaptive=adaptive)[1]
    assert not _forecast([6.0, 6.1] * 50, [1.0] * 60 + [20.0] * 40, adaptive=adaptive)[1]


def test_forecast_bears_more_of_optimizers_that_divide_by_the_gradients_size():
    losses = _noisy(6.0, 100) + [8.0] * 20
    norms = _noisy(1.0, 100, 1) + [4.0] * 20
    assert _forecast(losses, norms)[1]
    assert not _forecast(losses, norms, adaptive=True)[1]
    assert _forecast(losses, [*norms[:100], *[40.0] * 20], adaptive=True)[1]


def test_forecast_knows_spikes_and_what_is_not_finite():
    losses = _noisy(6.0, 100)
    losses[60] = 30.0
    forecast, said = _forecast(losses, [1.0] * 100)
    assert forecast.spikes == [61]
    assert not said
    assert _forecast([*losses, math.nan], [1.0] * 101)[0].flagged == 101


def _train(learning, first, last):
    weight = torch.nn.Parameter(torch.tensor([[1.0 - 0.01 * first]]))
    for update in range(first + 1, last + 1):
        looks = learning.looks(update)
        if looks:
            learning.before([weight])
        with torch.no_grad():
            weight -= 0.01
        if looks:
            kept = weight.detach().clone()
            learning.look(update, [("w", weight)], lambda _: float(weight.square()), None, rate=0.1)  # noqa: B023
            assert torch.equal(weight, kept)
        learning.after(update, weight.square().sum().detach(), weight.norm().detach())
    learning.flush()


def test_a_training_that_goes_on_is_watched_as_if_it_had_not_stopped(tmp_path):
    def watch(name, done):
        return Learning(Records(tmp_path / name), "full", done, lambda _: None, adaptive=False)

    _train(watch("straight", 0), 0, 60)
    _train(watch("stopped", 0), 0, 37)
    _train(watch("stopped", 30), 30, 60)  # from its last checkpoint
    straight, stopped = ((tmp_path / name).read_text() for name in ("straight", "stopped"))
    records = [json.loads(line) for line in straight.splitlines()]
    assert [record["step"] for record in records] == [*range(1, 61)]
    assert [one["step"] for one in records if "critical_step" in one] == [1, *range(10, 61, 10)]
    looked = [one for one in records if "critical_step" in one]
    assert all(
        one["critical_sharpness"] == pytest.approx(2 / (0.1 * one["critical_step"]))
        for one in looked
    )
    again = [json.loads(line) for line in stopped.splitlines()]
    assert [one["loss"] for one in again] == pytest.approx(
        [one["loss"] for one in records], rel=1e-5
    )
