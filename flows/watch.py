"""What is going to end, looked at daily: deployment ``watch``, or ``python -m flows.watch``.

Certificates of all servers in use and of what signs them, keys that say when they end, servers that
do not answer, clocks. What is found fails the flow, and so goes to the webhook.
"""

import sys
from datetime import timedelta
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from flows.notify import notify
from flows.server import temporary_server
from pipelines.frame.errors import EXIT_FAILED, MasklineError, exit_code
from pipelines.frame.params_reader import read_params
from pipelines.frame.run_folder import expected_seconds
from pipelines.preflight import endpoints, tokens
from pipelines.preflight.certificates import Until

_NEXT_LOOK = timedelta(days=1)


@flow(name="maskline-watch", log_prints=True, on_failure=[notify], on_crashed=[notify])
def watch() -> State[Any]:
    """Look; a failed state with all that was found, a line each."""
    run = timedelta(seconds=expected_seconds())
    later = Until(run + _NEXT_LOOK, "a run that begins before the next look")
    try:
        # Keys that live for hours are renewed between two looks.
        found = [*endpoints.check(read_params(), later), *tokens.check(Until(run))]
    except MasklineError as error:
        return Failed(message=str(error))
    if not found:
        return Completed(message="servers answer, certificates and keys last")
    return Failed(message="\n".join(f"{one.severity}: {one.message}" for one in found))


def main() -> int:
    """Look once, with a server of its own; the exit code."""
    with temporary_server():
        state: State[Any] = watch(return_state=True)
    print(state.message)
    return 0 if state.is_completed() else EXIT_FAILED


if __name__ == "__main__":
    sys.exit(exit_code(main))
