"""What the reincarnation server has allowed root ahead: to start a task again at once when it fails next.

Rules. Each is allowed one time, and only while that server knows all that root has to tell: so no failure is left out
of its count, and as many are started again as it would have. Whatever changes how tasks stand ends all that is allowed;
an order about one ends it for that one. What the allowance cannot know, whether those run that the task depends on, is
looked at when it fails.
"""

from __future__ import annotations

from collections.abc import Sequence

from libsel4py.description import Restart
from libsel4py.interfaces.lifecycle import Allowed, Standing
from servers.root.running_task import Life, RunningTask


class Ahead:
    """Which tasks may be started again at once."""

    def __init__(self, tasks: Sequence[RunningTask]) -> None:
        self._tasks = {running.task.name: running for running in tasks}
        self._allowed: dict[int, Allowed] = {}

    def allow(self, allowed: Sequence[Allowed]) -> None:
        """These as well."""
        self._allowed |= {each.task: each for each in allowed}

    def end_all(self) -> None:
        """None any more."""
        self._allowed.clear()

    def end(self, number: int) -> None:
        """This one not any more."""
        self._allowed.pop(number, None)

    def take(self, running: RunningTask, status: int) -> Allowed | None:
        """What is allowed for a task that has failed with this exit status, and is not any more; None: nothing is."""
        allowed = self._allowed.pop(running.number, None)
        restart = running.task.restart
        again = restart is Restart.ALWAYS or (restart is Restart.ON_FAILURE and status != 0)
        if allowed is None or not again or running.standing is not Standing.RUNNING:
            return None
        return allowed if all(_is_up(self._tasks[name]) for name in running.task.depends) else None


def _is_up(running: RunningTask) -> bool:
    return running.life is Life.RUNNING or running.standing is Standing.DONE
