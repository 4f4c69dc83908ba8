"""Faults that a pager had taken and passed on to nobody when it ended: ends of its tasks' threads above all.

Who waits for memory tries again, and so does a refused system call (`leftovers.py`). Any other fault comes once: it is
noted before its reply object is answered, and told in the pager's place when that one's next life has begun, or nobody
begins in its place. What has become of the task meanwhile goes first: a fault of a life that is over is not told.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from libsel4py.abi import FaultLabel
from libsel4py.lowlevel.identify import taken_fault
from servers.root.running_task import Kind, Life, RunningTask, Sender

# The system call is carried out again, or somebody else than the pager is told.
COMES_AGAIN: Final = frozenset((FaultLabel.VM_FAULT, FaultLabel.CAP_FAULT, FaultLabel.TIMEOUT))

Faulted = Callable[[Sender, int, tuple[int, ...]], None]


@dataclass(frozen=True, slots=True)
class _Fault:
    """``restarts``: in which life of the task."""

    client: RunningTask
    restarts: int
    thread: int
    label: int
    words: tuple[int, ...]


class UntoldFaults:
    """What the pagers that have ended owe to their tasks' supervisor."""

    def __init__(self) -> None:
        self._noted: dict[int, list[_Fault]] = {}  # by the pager's number

    def note(self, pager: RunningTask, clients: Sequence[RunningTask]) -> None:
        """The pager has ended, or answers nobody any more: see which faults of these tasks it holds."""
        noted = self._noted.setdefault(pager.number, [])
        for client in clients:
            if client.life is Life.RUNNING and client.faults == client.paged_faults:
                noted += _held(client)

    def tell(self, pager: RunningTask, faulted: Faulted) -> None:
        """Tell what was noted of a pager's tasks, as the pager would have: of each task the first thread first."""
        for each in self._noted.pop(pager.number, ()):
            client = each.client
            if client.life is Life.RUNNING and client.restarts == each.restarts:
                faulted(Sender(Kind.FAULT, client.number, each.thread), each.label, each.words)


def _held(client: RunningTask) -> list[_Fault]:
    found = [(number, taken_fault(thread.tcb.cptr)) for number, thread in enumerate(client.objects.threads)]
    return [
        _Fault(client, client.restarts, number, *fault)
        for number, fault in found
        if fault is not None and fault[0] not in COMES_AGAIN
    ]
