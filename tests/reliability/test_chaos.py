"""Some trials of `tests.reliability.chaos`, on one process; ``make chaos`` has as many as you like,
two ranks too.
"""

import random
import signal

import pytest

from tests.reliability.chaos import Chaos


@pytest.mark.reliability
def test_killed_at_random_moments_nothing_is_lost_and_nothing_left(tmp_path):
    chaos, generator = Chaos(tmp_path), random.Random(7)
    for target in ("trainer", "dvc", "flow", "server", "group"):
        trial = chaos.trial(
            target, generator.choice([signal.SIGKILL, signal.SIGTERM]), generator.uniform(0.2, 0.6)
        )
        print(trial)
        assert trial.hit, trial
        assert not trial.problems, trial
        assert not trial.orphans, trial
