# ruff: noqa: N999  (a keyword is no name for a module that is imported; this one is only run)
"""``python -m pipelines.corpus.try FILTER [KEY=VALUE …]``: see `pipelines.corpus.trial`."""

import sys

from pipelines.corpus.trial import main
from pipelines.frame.errors import exit_code

if __name__ == "__main__":
    sys.exit(exit_code(main))
