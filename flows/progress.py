"""A stage's progress bar in Prefect's UI."""

import contextvars
import threading

from prefect import get_run_logger
from prefect.artifacts import create_progress_artifact, update_progress_artifact

_PATIENCE_S = 5.0


class Progress:
    """Told in a thread of its own: a server may not answer,
    and a stage whose lines nobody reads stands still.

    Made inside a task; a context manager, whose end waits a little for the last word.

    Args:
        name: of the stage.
    """

    def __init__(self, name: str) -> None:
        self._name, self._share = name, 0.0
        self._changed, self._ended = threading.Event(), False
        inside = contextvars.copy_context()
        self._thread = threading.Thread(target=inside.run, args=(self._tell,), daemon=True)

    def update(self, share: float) -> None:
        """The share that is done, 0 to 1; returns at once."""
        self._share = share
        self._changed.set()

    def __enter__(self) -> "Progress":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended = True
        self._changed.set()
        self._thread.join(_PATIENCE_S)

    def _tell(self) -> None:
        """The newest share, each time there is one."""
        key = f"progress-{self._name}".replace("@", "-").replace("_", "-").lower()
        id, shown, ended = None, 0.0, False
        try:
            while not ended:
                self._changed.wait()
                self._changed.clear()
                ended = self._ended  # looked at before the share, which then is the last
                if (share := self._share) == shown:
                    continue
                if id is None:
                    id = create_progress_artifact(100 * share, key=key, description=self._name)
                else:
                    update_progress_artifact(id, 100 * share)  # type: ignore[arg-type]
                shown = share
        except Exception as error:  # of the network, the server, its database
            get_run_logger().warning(
                f"{self._name}: progress is not shown any more ({type(error).__name__})"
            )
