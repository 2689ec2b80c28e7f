"""What DVC says, as far as flows go by it."""

RUNNING = "Running stage "  # the first line of a stage that is not cached
BUSY = "is busy"  # of a read or write lock another stage holds for a moment
UNCHANGED = ("didn't change, skipping", "is cached - skipping run")
# To people who work with DVC by hand.
ADVICE = (
    "To track the changes with git", "git add", "To enable auto staging", "dvc config core.",
    "Use `dvc push`",
)  # fmt: skip
# Of DVC's own files, when one stage of many is run.
NOISE = ("Updating lock file", "Data and pipelines are up to date")


def is_advice(line: str) -> bool:
    """Whether a line tells people what they could do next."""
    return any(words in line for words in ADVICE)
