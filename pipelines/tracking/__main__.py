"""``python -m pipelines.tracking sync``: see `pipelines.tracking.sync`."""

import argparse
import sys

from pipelines.frame.errors import exit_code
from pipelines.frame.params_reader import read_params, validate
from pipelines.frame.tracking import TrackingParams
from pipelines.tracking.sync import sync


def main() -> int:
    """Send offline runs."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.tracking", description="Offline runs of W&B to its server."
    )
    parser.add_argument("what", choices=["sync"], help="send what has not been sent")
    parser.parse_args()
    count = 0
    for line in sync(validate(read_params(), "tracking", TrackingParams)):
        print(line, flush=True)
        count += 1
    print(f"{count} sent" if count else "nothing to send: all has been")
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
