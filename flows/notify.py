"""Word of a flow that failed, to a webhook: set MASKLINE_WEBHOOK to its address (Slack,
Mattermost, ntfy, your own).

It gets JSON: ``text`` for people, and ``flow``, ``run``, ``state``, ``message``.
"""

import json
import os
import sys
import urllib.error
import urllib.request
from typing import Any

from pipelines.preflight.endpoints import WEBHOOK

_PATIENCE_S = 10.0
_LONGEST = 2_000  # characters of a message


def notify(flow: Any, flow_run: Any, state: Any) -> None:
    """Hook of a flow: tell the webhook, if there is one; that it does not answer changes nothing.

    Args:
        flow: that ran.
        flow_run: of it.
        state: it ended in.
    """
    url = os.environ.get(WEBHOOK)
    if not url:
        return
    message = (state.message or "")[:_LONGEST]
    facts = {"flow": flow.name, "run": flow_run.name, "state": state.name, "message": message}
    body = json.dumps(
        {"text": f"{flow.name} {flow_run.name}: {state.name}\n{message}", **facts}
    ).encode()
    try:
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=_PATIENCE_S):
            pass
    except (urllib.error.URLError, OSError, ValueError) as error:
        reason = type(error).__name__  # the address is a secret, and may stand in the error
        print(f"warning: the webhook of {WEBHOOK} was not told ({reason})", file=sys.stderr)
