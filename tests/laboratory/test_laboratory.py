"""Optimizers compared: trajectories, budgets, what a comparison comes to."""

import itertools
import json
import math
import sys

import pytest
from pydantic import TypeAdapter

from pipelines.laboratory.__main__ import main
from pipelines.laboratory.contestants import CONTESTANTS
from pipelines.laboratory.functions import FUNCTIONS, trajectory
from pipelines.laboratory.noise import noise_by_batch
from pipelines.laboratory.runs import Job, Pool
from pipelines.laboratory.summary import best_of, best_rate, table, valley
from pipelines.optim.params import Optimizer
from pipelines.training.positions import Position
from tests.conftest import run_in


def section(name):
    return TypeAdapter(Optimizer).validate_python(dict(CONTESTANTS[name].optimizer))


def test_descent_swings_across_a_valley_and_momentum_gets_further():
    """The textbook's picture (Goodfellow et al. 2016, figure 8.5): in the steep direction the sign
    changes each step, in the flat one it creeps; heavy-ball momentum covers more of that.
    """
    quadratic = FUNCTIONS["quadratic"]  # λ = 1 and 25
    rate = 1.9 / 25
    plain = trajectory(quadratic, section("sgd"), rate, 20)
    assert all(a[1] * b[1] < 0 for a, b in itertools.pairwise(plain))
    by_formula = [(-4 * (1 - rate) ** n, (1 - 25 * rate) ** n) for n in range(21)]
    for place, expected in zip(plain, by_formula, strict=True):
        assert place == pytest.approx(expected)
    slow = trajectory(quadratic, section("sgd"), 0.01, 40)[-1]
    heavy = trajectory(quadratic, section("momentum"), 0.01, 40)[-1]
    assert abs(heavy[0]) < abs(slow[0])


def test_descent_on_a_quadratic_diverges_above_two_over_the_curvature():
    below = trajectory(FUNCTIONS["quadratic"], section("sgd"), 0.99 * 2 / 25, 500)
    above = trajectory(FUNCTIONS["quadratic"], section("sgd"), 1.01 * 2 / 25, 500)
    assert abs(below[-1][1]) < 1e-2
    assert abs(above[-1][1]) > 1e3


@pytest.mark.parametrize("name", ["sgd", "momentum", "rmsprop", "adam"])
def test_all_leave_a_saddle_and_adaptive_ones_first(name):
    """x² − y² from a thousandth beside the ridge: y grows by (1 + 2η) a step in plain descent, by
    about η in those that divide by the gradient's size.
    """
    steps = {
        one: sum(abs(y) < 1 for _, y in trajectory(FUNCTIONS["saddle"], section(one), 0.02, 400))
        for one in ("sgd", name)
    }
    assert steps[name] < 400
    assert steps["sgd"] == pytest.approx(math.log(1000) / math.log(1.04), abs=2)
    assert steps[name] <= steps["sgd"]


def test_adam_ends_in_rosenbrocks_minimum_and_plain_descent_does_not_yet():
    place = trajectory(FUNCTIONS["rosenbrock"], section("adam"), 0.03, 3000)[-1]
    assert place == pytest.approx((1.0, 1.0), abs=0.05)
    slow = trajectory(FUNCTIONS["rosenbrock"], section("sgd"), 1e-3, 400)[-1]
    assert math.dist(slow, (1.0, 1.0)) > 0.3


def test_monkey_saddle_is_left_along_a_valley():
    x, y = trajectory(FUNCTIONS["monkey saddle"], section("momentum"), 0.01, 300)[-1]
    assert x**3 - 3 * x * y**2 < -1.0


def test_budgets_are_equal_in_rows():
    jobs = [Job("bert", name, 1.0, 1, 8192, 1024) for name in CONTESTANTS]
    assert all(job.updates * job.batch == 8192 for job in jobs)
    batches = {job.contestant: job.batch for job in jobs}
    assert (batches["full batch"], batches["batch 1"], batches["adamw"]) == (1024, 1, 32)
    rates = CONTESTANTS["adamw"].rates(5)
    assert rates == pytest.approx([3e-4, 9.49e-4, 3e-3, 9.49e-3, 3e-2], rel=1e-2)


def test_a_pool_is_gone_through_again():
    class Source:
        fingerprint = "x"

        def after(self, position):
            return Position(position.update + 1, position.epoch, position.samples + 32)

        def __call__(self, position):
            return position.samples

    pool, position, seen = Pool(Source(), 96), Position(0, 0, 0), []
    for _ in range(7):
        seen.append((position.update, pool(position)))
        position = pool.after(position)
    assert seen == [(0, 0), (1, 32), (2, 64), (3, 0), (4, 32), (5, 64), (6, 0)]


def _results():
    losses = {
        ("adam", 1e-3): [3.0, 3.2, 3.1], ("adam", 1e-2): [3.05, 3.1, 3.2], ("adam", 0.1): [9.0] * 3,
        ("sgd", 0.1): [5.0] * 3, ("sgd", 1.0): [math.inf] * 3,
        ("full batch", 1.0): [2.0] * 3,
    }  # fmt: skip
    return [
        {"model": "bert", "contestant": name, "rate": rate, "seed": seed, "rows": 64, "batch": 8,
         "updates": 8, "loss": loss, "seconds": 1.0, "points": []}
        for (name, rate), values in losses.items()
        for seed, loss in enumerate(values)
    ]  # fmt: skip


def test_best_rates_valleys_and_finalists():
    results = _results()
    assert best_rate(results, "adam") == (1e-3, 3.1)
    assert valley(results, "adam") == 1.0
    assert valley(results, "sgd") == 0.5
    assert best_of(results, 2) == ["adam", "sgd"]
    lines = table(results).splitlines()
    assert [line.split("  ")[0] for line in lines[2:5]] == ["full batch", "adam", "sgd"]
    assert max(map(len, lines)) <= 80


def test_the_command_trains_writes_and_goes_on(reproduced_copy, monkeypatch, capsys):
    command = [sys.executable, "-m", "pipelines.laboratory", "--rows", "16", "--pool", "16",
               "--rates", "1", "--seeds", "1", "--finalists", "1",
               "--only", "full batch", "adafactor", "muon"]  # fmt: skip
    printed = run_in(reproduced_copy, *command).stdout
    assert "bert: 16 rows each" in printed
    assert "transformer: 16 rows each" in printed
    (folder,) = (reproduced_copy / ".runs/optimizers").iterdir()
    results = [json.loads(path.read_text()) for path in folder.glob("*-*.json")]
    assert len(results) == 4
    assert all(math.isfinite(one["loss"]) for one in results)
    assert {one["updates"] for one in results if one["contestant"] == "full batch"} == {1}
    assert (folder / "trajectories.svg").stat().st_size > 10_000
    monkeypatch.setattr(sys, "argv", command[2:])
    assert main() == 0  # nothing is trained twice
    again = capsys.readouterr().out
    assert "seed 1" not in again
    assert again.splitlines()[-1] == printed.splitlines()[-1]
    monkeypatch.setattr(sys, "argv", ["laboratory", "--only", "adm"])
    assert main() == 2
    assert "--only (adm) must be one of full batch, batch 1" in capsys.readouterr().err


def test_noise_of_a_batch_is_that_of_a_row_over_its_rows(reproduced_copy):
    """Of gradients of rows that know nothing of each other; documents of 60 are not quite that."""
    noise = noise_by_batch(seed=1)
    assert list(noise) == [1, 4, 16, 64, 256]
    assert noise[1] > 2 * noise[4] > 4 * noise[16]
