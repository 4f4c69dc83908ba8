"""``sel4py upgrade``: let a running system's kernel be of the code that there is now."""

from __future__ import annotations

import time
from typing import Final

import click

from deploy.cli.output import Report, reported, system_option

SECONDS: Final = 60.0


@click.command()
@system_option
@reported
def command(system_name: str | None) -> Report:
    """Load the kernel's code anew, and let it take over; tasks go on. If it cannot, the old code goes on."""
    from deploy.cli.rendering import line
    from deploy.management import Management, ManagementError
    from deploy.runtime import select_running

    running = select_running(system_name)
    deadline = time.monotonic() + SECONDS
    with Management(running.folder, SECONDS) as management:  # nobody answers while newer code is on trial
        before = _counts(management.request("upgrade"))
        while (now := management.request("status")) and _counts(now) == before:
            if time.monotonic() > deadline:
                raise ManagementError(f"the kernel of {running.name} was not replaced within {SECONDS:g} s")
    upgrades, failed = _counts(now)
    if failed > before[1]:
        raise ManagementError(
            f"the new code could not take over, and the old goes on; see `sel4py logs kerneld --system {running.name}`"
        )
    result = {"name": running.name, "upgrades": upgrades}
    return Report(result, lambda: line(f"the kernel of {running.name} is of the code that there is now"))


def _counts(status: object) -> tuple[int, int]:
    if not isinstance(status, dict):
        return 0, 0
    return int(status["upgrades"]), int(status["failed_upgrades"])
