"""Work pools, deployments and automations of this checkout: ``python -m flows.deployments``,
against PREFECT_API_URL.

The deployments stand in ``prefect.yaml``. Besides them the server gets an automation for flow runs
whose process has vanished: Prefect itself leaves them Running for ever.
"""

import asyncio
import contextlib
import subprocess
import sys
from datetime import timedelta
from typing import Any

from prefect.automations import Automation
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification
from prefect.exceptions import ObjectAlreadyExists

from flows.environment import HEARTBEAT_S

POOL, WATCH_POOL, ZOMBIES = "maskline", "maskline-watch", "maskline-zombies"
_MISSED = 3  # heartbeats


async def create_pools() -> None:
    """The pools of processes; one flow at a time, for two would train on the same processors. What
    looks out has one of its own: it is not to wait for the end of a training.
    """
    async with get_client() as client:
        for name in (POOL, WATCH_POOL):
            with contextlib.suppress(ObjectAlreadyExists):  # its owner may have changed it
                await client.create_work_pool(
                    WorkPoolCreate(name=name, type="process", concurrency_limit=1)
                )


def zombies() -> Automation:
    """Flow runs that have been heard of, then no more, crash."""
    crash: Any = ChangeFlowRunState
    ended = {
        f"prefect.flow-run.{state}" for state in ("Completed", "Failed", "Cancelled", "Crashed")
    }
    return Automation(
        name=ZOMBIES,
        description="A flow run whose process has vanished crashes instead of running for ever.",
        trigger=EventTrigger(
            after={"prefect.flow-run.heartbeat"},
            expect={"prefect.flow-run.heartbeat"} | ended,
            match=ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*"]}),
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=timedelta(seconds=_MISSED * HEARTBEAT_S),
        ),
        actions=[crash(state=StateType.CRASHED, message="Its process has vanished.")],
    )


async def create_zombies() -> None:
    """The automation, once."""
    try:
        await Automation.aread(name=ZOMBIES)
    except ValueError:
        await zombies().acreate()


def main() -> int:
    """Create what is missing, register the deployments anew."""
    asyncio.run(create_pools())
    asyncio.run(create_zombies())
    return subprocess.run(
        [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"], check=False
    ).returncode


if __name__ == "__main__":
    sys.exit(main())
