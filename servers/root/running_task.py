"""A task as root knows it while the system runs, and how root tells from a badge which task speaks to it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import Final

from libsel4py.capabilities import Endpoint
from libsel4py.description import Task
from libsel4py.environment import Environment
from libsel4py.interfaces.lifecycle import Standing, Stop
from servers.root.objects import TaskObjects

KIND_SHIFT: Final = 56
THREAD_SHIFT: Final = 32
THREAD_MASK: Final = (1 << THREAD_SHIFT) - 1  # the task's number
MAX_EVENTS: Final = 200  # kept of each task
MAX_FAILURES: Final = 1000  # as many as an intensity allows


class Kind(IntEnum):
    """What a message at root's endpoint is: the top of its badge. Below it stand the thread's and the task's number."""

    FAULT = 1
    PARENT = 2
    SYSTEM = 3
    LIFECYCLE = 4
    STANDBY = 5  # what a process that stands by asks
    STANDBY_FAULT = 6


def badge_of(kind: Kind, number: int, thread: int = 0) -> int:
    return kind << KIND_SHIFT | thread << THREAD_SHIFT | number


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sent a message to root, from its badge."""

    kind: Kind
    number: int
    thread: int

    @classmethod
    def of(cls, badge: int) -> Sender:
        number = badge & (1 << THREAD_SHIFT) - 1
        return cls(Kind(badge >> KIND_SHIFT), number, badge >> THREAD_SHIFT & (1 << KIND_SHIFT - THREAD_SHIFT) - 1)


class Standby(Enum):
    """How it is with the process that stands by for a task."""

    NONE = "none"
    READY = "ready"  # it waits, as the spare body
    CHOSEN = "chosen"  # it waits as the body, and is the next life's
    GIVEN_UP = "given up"  # it has ended too often: none is made until the task ends


class Life(Enum):
    """What has become of a task."""

    MADE = "made"
    RUNNING = "running"
    FAULTED = "faulted"  # a thread of it waits for an answer to its fault that will not come
    DEAD = "dead"
    DONE = "done"  # it said so itself: nothing starts it again


@dataclass(slots=True)
class RunningTask:
    """A task as root knows it.

    Attributes:
        capabilities: what stands in each slot that was filled. faults: where the faults of each thread go now.
        own_faults: root's endpoint with a badge for each thread. paged_faults: the same of its pager's, if it has one.
        is_closed: its endpoint is gone, since nobody serves it.
        home_faults: those of its supervisor, root's own where it has no other.
        pager_life: the first life of its pager (by that one's ``restarts``) that brought this life of it memory.
        state: its life, in words. last_cause: why its last life ended. restarted_at: when it was last started again by
        root's own rule, in seconds of root's clock. used_us: the processor time of its threads, as far as told.
        standby: see there. standby_faults: root's endpoint, with a badge for the faults of what stands by.
        image, former_image: the boot images of this life and, until an update has come up, of the one before.
        standing, failures, due, started_at, renewed_at, failed_at, complained_at, back_at, stop: `lifecycle.TaskRecord`
        says.
    """

    number: int
    task: Task
    image: int
    objects: TaskObjects
    environment: Environment
    capabilities: dict[int, str]
    faults: tuple[Endpoint, ...]
    own_faults: tuple[Endpoint, ...] = ()
    paged_faults: tuple[Endpoint, ...] = ()
    home_faults: tuple[Endpoint, ...] = ()
    pager_life: int = 0
    life: Life = Life.MADE
    state: str = "made"
    restarts: int = 0
    last_cause: str = ""
    restarted_at: deque[float] = field(default_factory=deque)
    is_closed: bool = False
    standing: Standing = Standing.RUNNING
    failures: int = 0
    due: float = 0.0
    started_at: float = 0.0
    renewed_at: float = 0.0
    failed_at: deque[float] = field(default_factory=lambda: deque(maxlen=MAX_FAILURES))
    complained_at: deque[float] = field(default_factory=lambda: deque(maxlen=MAX_FAILURES))
    back_at: float = 0.0
    stop: Stop | None = None
    former_image: int | None = None
    used_us: int = 0
    standby: Standby = Standby.NONE
    standby_faults: Endpoint | None = None
    standby_ended_at: deque[float] = field(default_factory=deque)
    events: deque[str] = field(default_factory=lambda: deque(maxlen=MAX_EVENTS))

    @property
    def is_over(self) -> bool:
        """Whether its process has ended, and it was not started again."""
        return self.life in (Life.DEAD, Life.DONE)

    def note(self, life: Life, state: str, event: str) -> None:
        """Keep what has become of it, and the event that made it so."""
        self.life, self.state = life, state
        if life is not Life.RUNNING:
            self.last_cause = event
        self.events.append(event)

    def follows(self, state: str, event: str) -> None:
        """Keep what comes of it, which has ended: why it has is kept as it is."""
        self.life, self.state = Life.DEAD, state
        self.events.append(event)

    def consumed_us(self) -> int:
        """Microseconds of processor time since its first start. The kernel tells what was used since it last told."""
        self.used_us += sum(thread.sched_context.consumed() for thread in self.objects.threads)
        return self.used_us
