# mypy: disable-error-code="empty-body"
"""The mechanism of supervision, as root offers it to the one task that decides: the reincarnation server.

Root starts tasks, ends them, takes back what they had, and keeps what must outlive the reincarnation server's own
death: this interface's records and orders. Faults and ends of supervised tasks come to that server's own endpoint, as
the kernel's fault messages, with a `fault_source` as badge; they wait there while it is away. One that it had taken
when it died shows in its task's record (`TaskRecord.runs`). Those of a task that nothing else ends or starts with
(`Group.is_each_alone`) come to root instead, which starts it again at once where that server has allowed it ahead
(`Lifecycle.allow`), and tells of it behind that; where not, it tells of the end, as an order.

Times are seconds of `time.monotonic`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import Enum
from itertools import chain
from typing import Final, TypeVar

import msgspec
from msgspec.structs import replace

from libsel4py.description import Group, Restart
from libsel4py.interface import Interface, long_result

_FAULT: Final = 1 << 56  # the top of a badge; below it stand thread and task
_THREAD_SHIFT: Final = 32
_THREADS: Final = 1 << 56 - _THREAD_SHIFT
_NUMBERS: Final = 1 << _THREAD_SHIFT
FOREVER: Final = float("inf")
ORDERS_SIGNAL: Final = 1  # of the reincarnation server's notification: root has orders
# What one message takes, however long the texts and numbers beside them are.
MOST_ALLOWED: Final = 80
MOST_NUMBERS: Final = 100
MOST_WAITS: Final = 40
MOST_BESIDE_TEXTS: Final = 20


def fault_badge(number: int, thread: int) -> int:
    """What the reincarnation server knows the faults of a task's thread by."""
    return _FAULT | thread << _THREAD_SHIFT | number


def fault_source(badge: int) -> tuple[int, int] | None:
    """Number and thread of the task whose fault has this badge; None if it is no fault's."""
    if badge & -_FAULT != _FAULT:
        return None
    return badge % _NUMBERS, badge // _NUMBERS % _THREADS


class Standing(Enum):
    """How a task stands with its supervisor."""

    RUNNING = "running"
    WAITING = "waiting"  # for the moment of its next start, or for a task that it depends on
    LEFT = "left"  # it ended, and nothing starts it again but an order
    DONE = "done"  # it said itself that its work is done


class OrderKind(Enum):
    """What is to be done, or has been, with one task."""

    FAILED = "failed"  # root was told of its fault in the supervisor's place; its threads may be there
    KILLED = "killed"  # it was ended by order
    DONE = "done"
    QUIT = "quit"  # it said that its work is done, and root knew of no sign that its update had come up
    STOP = "stop"
    START = "start"
    RESTART = "restart"
    UPDATE = "update"  # to the boot image that the text names
    RESTARTED = "restarted"  # it has failed, and was started again as was allowed ahead


class Order(msgspec.Struct, frozen=True):
    """Something that root has to tell about one task. ``status`` is an exit status, of those that have ended; ``at`` is
    when, of one that was started again."""

    serial: int
    kind: OrderKind
    task: int
    status: int = 0
    text: str = ""
    at: float = 0.0


class Allowed(msgspec.Struct, frozen=True, array_like=True):
    """A task that root may start again at once, when it fails next; ``failures`` is how many are in a row then."""

    task: int
    failures: int


class Stop(msgspec.Struct, frozen=True):
    """What a task is asked to stop for. ``by``: when it is ended if it has not. ``restarts``: it is then started again,
    with this boot image; "": the same."""

    by: float
    restarts: bool = False
    image: str = ""


class TaskRecord(msgspec.Struct, frozen=True):
    """What root keeps of one supervised task, and what its description says of its supervision.

    Attributes:
        runs: its first thread has a process that goes on; False is news where it stands as RUNNING.
        pager: the number of its pager, if it has one.
        failures: how many of its lives have ended in a row, each soon. due: when it is to be started again.
        started_at: when its last life began. renewed_at: when its group last began anew; 0: never.
        failed_at: when it has failed, as far as that counts still; oldest first. complained_at: for complaints of it.
        back_at: when it was started behind the last one; 0: it was not yet.
        complains_of: the numbers of those that it may complain of.
        stop: it was asked to stop, and has not.
        image: the boot image of its life. former_image: that of the life before, which is loaded again if this one, an
        update, does not come up; "": it is none, or has come up.
    """

    number: int
    name: str
    group: str
    restart: Restart
    standing: Standing
    runs: bool
    essential: bool = False
    asks_to_stop: bool = False
    depends: tuple[int, ...] = ()
    pager: int | None = None
    heartbeat_us: int = 0
    first_heartbeat_us: int = 0
    stop_timeout_us: int = 0
    failures: int = 0
    due: float = 0.0
    started_at: float = 0.0
    renewed_at: float = 0.0
    failed_at: tuple[float, ...] = ()
    complained_at: tuple[float, ...] = ()
    back_at: float = 0.0
    complains_of: tuple[int, ...] = ()
    stop: Stop | None = None
    image: str = ""
    former_image: str = ""


class Cause(msgspec.Struct, frozen=True):
    """Why something changes: what has become of one task, in words ("": root knows). ``failed_at`` counts as a failure.

    ``failures`` is how many are in a row by now; with ``forgives`` those before this one do not count any more. With
    ``is_complaint`` another task has complained of it.
    """

    task: int
    text: str
    has_faulted: bool = False
    failures: int = 0
    failed_at: float = 0.0
    forgives: bool = False
    is_complaint: bool = False


class Change(msgspec.Struct, frozen=True):
    """One step, which root carries out whole: it notes the cause, ends tasks, and starts tasks, each in this order.

    A task that root has started again meanwhile, as was allowed ahead, is not ended for its own failure: that was its
    former life's. Such a cause is not noted, and root does not tell of that start any more, so that it counts once. Who
    is given up by the same step, or begins anew with its group, is ended in this life too.

    Attributes:
        due: when those that are ended and not started are to be started; 0: when what they depend on runs.
        image: the boot image that the task whose cause it is runs from now on; "": the same.
        asks: who is asked until then whether they are started sooner, or at all.
        leaves: those that are not to be started, for ``because``; where it is "", for their restart policy.
        by_order: those that leave were stopped by order, which another one takes back: who calls them waits.
        renews: the failures of those that end, start or wait are forgotten: their group begins anew.
        waits: those that do not run, and wait for another moment than root knows, each with that moment, as ``due``.
    """

    cause: Cause | None = None
    ends: tuple[int, ...] = ()
    starts: tuple[int, ...] = ()
    due: float = 0.0
    leaves: tuple[int, ...] = ()
    renews: bool = False
    because: str = ""
    by_order: bool = False
    asks: str = ""
    image: str = ""
    waits: tuple[tuple[int, float], ...] = ()


Each = TypeVar("Each")


def _pieces(numbers: tuple[Each, ...], most: int) -> Iterator[tuple[Each, ...]]:
    return (numbers[first : first + most] for first in range(0, len(numbers), most))


def parts(change: Change) -> Iterator[Change]:
    """A step as messages take it: the last one is for `Lifecycle.change`, all before it are for `Lifecycle.part`."""
    if sum(map(len, (change.ends, change.starts, change.leaves, change.waits))) > MOST_BESIDE_TEXTS:
        yield from (Change(ends=some) for some in _pieces(change.ends, MOST_NUMBERS))
        yield from (Change(starts=some) for some in _pieces(change.starts, MOST_NUMBERS))
        yield from (Change(leaves=some) for some in _pieces(change.leaves, MOST_NUMBERS))
        yield from (Change(waits=some) for some in _pieces(change.waits, MOST_WAITS))
        change = replace(change, ends=(), starts=(), leaves=(), waits=())
    yield change


def whole(found: Sequence[Change]) -> Change:
    """The step that these are the `parts` of."""
    return replace(
        found[-1],
        ends=tuple(chain.from_iterable(each.ends for each in found)),
        starts=tuple(chain.from_iterable(each.starts for each in found)),
        leaves=tuple(chain.from_iterable(each.leaves for each in found)),
        waits=tuple(chain.from_iterable(each.waits for each in found)),
    )


class Lifecycle(Interface):
    """For the reincarnation server alone."""

    @long_result
    def tasks(self) -> list[TaskRecord]:
        """All supervised tasks, in start order."""

    @long_result
    def groups(self) -> list[Group]:
        """The groups, each with its tasks in start order. A task that is in none is one by itself."""

    def change(self, change: Change) -> None:
        """Carry out one step. Numbers that are no supervised task's are passed over."""

    def part(self, change: Change) -> None:
        """A part of the step that the next `change` carries out. Reading the records forgets it: who does so begins."""

    def life(self, task: int) -> int:
        """The number of the task's current life, or of its next one where none runs; 0 of what is no supervised task.
        The first one has the number 1."""

    def came_up(self, task: int) -> None:
        """An update has come up: its former boot image is forgotten."""

    def ask_to_stop(self, task: int, stop: Stop) -> None:
        """Tell a task that it is to end by itself. It is not waited for; what for is kept until it is ended."""

    @long_result
    def orders(self, done: int) -> list[Order]:
        """What is to be looked at, oldest first, but those up to the serial number ``done``, which are forgotten."""

    def allow(self, done: int, allowed: list[Allowed], more: bool = False) -> bool:
        """Let root start these again at once, each one time, whenever it fails next, and no other, but with ``more``
        those that it was told of before: what would be decided is known. It holds until a `change`, or until the
        records are read anew; an order about a task ends it for that one. Orders up to ``done`` are forgotten, as by
        `orders`.

        Returns False, and nothing is allowed, where there are orders behind ``done``: look at those first.
        """

    def end_system(self, task: int, status: int, why: str) -> None:
        """End the system, since this task has ended."""
