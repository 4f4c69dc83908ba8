"""The abstract state: objects as plain records, queues as lists, call stacks as lists, capabilities as a tree.

Rules of the host interface (docs/architecture.md) that the specification shares: a thread runs when its state allows
it and it has a configured scheduling context; a completion is seen when the thread runs; threads whose system calls are
to be carried out again do so in the order in which they became able to.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from libsel4py import abi
from libsel4py.abi import DeathNoticeState, FaultLabel, Status
from tests.model.capability import Capability, Kind
from tests.model.derivation import Derivation, Holding, Place


class State(Enum):
    INACTIVE = "inactive"
    RUNNING = "running"
    RESTART = "restart"
    BLOCKED_ON_RECEIVE = "receive"
    BLOCKED_ON_SEND = "send"
    BLOCKED_ON_REPLY = "reply"
    BLOCKED_ON_NOTIFICATION = "notification"


TCB_SLOTS = 6
RUNNABLE = (State.RUNNING, State.RESTART)


@dataclass(frozen=True, slots=True)
class Submission:
    """A system call as a thread submits it. ``words`` are all that its message area or tail holds."""

    op: int
    cptr: int = 0
    info: int = 0
    words: tuple[int, ...] = ()
    caps: tuple[int, ...] = ()
    reply: int = 0
    dest: int = 0
    inline: bool = False
    receive_path: tuple[int, int, int] = (0, 0, 0)

    @property
    def label(self) -> int:
        return abi.info_label(self.info)

    @property
    def registers(self) -> tuple[int, int, int, int]:
        first, second, third, fourth = (*self.words, 0, 0, 0, 0)[:4]
        return first, second, third, fourth

    @property
    def message(self) -> tuple[int, ...]:
        """The words that the message has."""
        length = min(abi.info_length(self.info), 8 if self.inline else abi.MESSAGE_MAX_LENGTH)
        return (*self.words, *(0,) * length)[:length]

    @property
    def extra_caps(self) -> tuple[int, ...]:
        count = min(abi.info_extra_caps(self.info), 2 if self.inline else 3)
        return (*self.caps, 0, 0, 0)[:count]


@dataclass(frozen=True, slots=True)
class Completion:
    """What a thread finds. ``badges`` is None when the capability words are not written."""

    badge: int = 0
    info: int = 0
    registers: tuple[int, int, int, int] = (0, 0, 0, 0)
    more: tuple[int, ...] = ()
    badges: tuple[int, int, int] | None = None
    status: Status = Status.DONE


@dataclass(eq=False, slots=True)
class Thread:
    """Attributes that need a word: ``submission`` is the system call in progress; ``pending`` its end, not yet seen;
    ``waits_in`` the object whose queue it is in; ``way`` the endpoint capability that it sends by. ``listens``: the
    object whose channels it takes, as ``number``; ``may_have_pages``: whether its process may have their pages.
    """

    address: int
    state: State = State.INACTIVE
    priority: int = 0
    mcp: int = 0
    domain: int = 0
    started: bool = False
    context: int | None = None
    bound: int | None = None
    reply: int | None = None
    waits_in: int | None = None
    way: Capability | None = None
    is_call: bool = False
    fault: tuple[FaultLabel, tuple[int, ...]] | None = None
    submission: Submission | None = None
    pending: Completion | None = None
    registers: dict[str, int] = field(default_factory=dict)
    channels: list[int] = field(default_factory=list)
    listens: int | None = None
    number: int = 0
    may_have_pages: bool = False


@dataclass(eq=False, slots=True)
class Endpoint:
    queue: list[int] = field(default_factory=list)
    sending: bool = False
    channels: list[int] = field(default_factory=list)
    listeners: list[int] = field(default_factory=list)
    last_number: int = 0


@dataclass(eq=False, slots=True)
class Notification:
    queue: list[int] = field(default_factory=list)
    active: bool = False
    signals: int = 0
    bound: int | None = None
    context: int | None = None
    channels: list[int] = field(default_factory=list)
    listeners: list[int] = field(default_factory=list)
    last_number: int = 0


@dataclass(eq=False, slots=True)
class Channel:
    client: int | None = None
    target: int | None = None


@dataclass(eq=False, slots=True)
class Notice:
    """A death notice; ``watches`` names an object, ``since`` orders those that watch the same."""

    watches: tuple[Kind, int] | None = None
    since: int = 0
    state: DeathNoticeState = DeathNoticeState.IDLE
    status: int = 0


@dataclass(eq=False, slots=True)
class SchedContext:
    """``calls`` are the reply objects along which it was lent, the first caller's first. ``held``: to a budget that is
    less than its period. ``postponed``: that is used up."""

    bits: int
    thread: int | None = None
    notification: int | None = None
    calls: list[int] = field(default_factory=list)
    configured: bool = False
    held: bool = False
    postponed: bool = False

    @property
    def has_time(self) -> bool:
        return self.configured and not self.postponed


@dataclass(eq=False, slots=True)
class System:
    """Everything. Dictionaries are keyed by the objects' addresses; ``replies`` say which thread is at each."""

    tree: Derivation = field(default_factory=Derivation)
    containers: dict[int, int] = field(default_factory=dict)  # CNodes, TCBs, channels, notices and what is left: slots
    threads: dict[int, Thread] = field(default_factory=dict)
    endpoints: dict[int, Endpoint] = field(default_factory=dict)
    notifications: dict[int, Notification] = field(default_factory=dict)
    replies: dict[int, int | None] = field(default_factory=dict)
    contexts: dict[int, SchedContext] = field(default_factory=dict)
    channels: dict[int, Channel] = field(default_factory=dict)
    notices: dict[int, Notice] = field(default_factory=dict)
    asked: int = 0  # how many times a notice was told to watch
    io_spaces: dict[int, int] = field(default_factory=dict)  # by device number
    touched: dict[int, None] = field(default_factory=dict)
    restarts: list[int] = field(default_factory=list)
    seen: list[tuple[int, Completion]] = field(default_factory=list)

    # --- capabilities

    def held(self, place: Place) -> Capability | None:
        holding = self.tree.at(place)
        return None if holding is None else holding.capability

    def inside(self, thread: Thread, index: int) -> Capability | None:
        """A capability inside the thread's TCB."""
        return self.held(Place(thread.address, index))

    def holding(self, place: Place) -> Holding:
        found = self.tree.at(place)
        assert found is not None, f"the specification expects a capability at {place}"
        return found

    # --- threads

    def set_state(self, thread: Thread, state: State) -> None:
        thread.state = state
        self.touched[thread.address] = None

    def may_run(self, thread: Thread) -> bool:
        context = None if thread.context is None else self.contexts[thread.context]
        return thread.state in RUNNABLE and context is not None and context.has_time

    def complete(self, thread: Thread, completion: Completion) -> None:
        thread.pending = completion
        thread.submission = None
        self.touched[thread.address] = None

    def complete_unchanged(self, thread: Thread, badge: int, status: Status = Status.DONE) -> None:
        """End a receive that brings a badge and no message."""
        asked = thread.submission
        assert asked is not None
        self.complete(thread, Completion(badge, asked.info, asked.registers, status=status))

    def settle(self) -> None:
        """What the host and the threads see of the changes so far."""
        for address in self.touched:
            if address in self.threads:
                self._settle(self.threads[address])
        self.touched.clear()

    def _settle(self, thread: Thread) -> None:
        if not self.may_run(thread):
            return
        if not thread.started:
            self._start(thread)
            return
        if thread.submission is not None and thread.state is State.RESTART:
            if thread.address not in self.restarts:
                self.restarts.append(thread.address)
        elif thread.pending is not None:
            self.seen.append((thread.address, thread.pending))
            thread.pending = None
        if thread.submission is None:
            thread.state = State.RUNNING

    def _start(self, thread: Thread) -> None:
        """Its process begins, if it has what a process needs: an address space and a trap frame."""
        space, frame = self.inside(thread, 1), self.inside(thread, 2)
        if space is not None and space.kind is Kind.VSPACE and frame is not None and frame.kind is Kind.FRAME:
            thread.started = True
            thread.state = State.RUNNING
            thread.submission = thread.pending = None

    # --- scheduling contexts

    def lend(self, address: int, to: Thread) -> None:
        """Hand a scheduling context over to a thread that has none."""
        self.unbind_thread(address)
        self.contexts[address].thread = to.address
        to.context = address
        self.touched[to.address] = None

    def unbind_thread(self, address: int) -> None:
        context = self.contexts[address]
        if context.thread is not None:
            self.threads[context.thread].context = None
            self.touched[context.thread] = None
            context.thread = None

    def unbind_notification(self, address: int) -> None:
        context = self.contexts[address]
        if context.notification is not None:
            self.notifications[context.notification].context = None
            context.notification = None

    # --- queues

    def queue_of(self, address: int) -> list[int]:
        if address in self.endpoints:
            return self.endpoints[address].queue
        return self.notifications[address].queue

    def enqueue(self, address: int, thread: Thread) -> None:
        """Behind all of its priority or a higher one."""
        queue = self.queue_of(address)
        ahead = sum(self.threads[other].priority >= thread.priority for other in queue)
        queue.insert(ahead, thread.address)
        thread.waits_in = address

    def dequeue(self, thread: Thread) -> None:
        assert thread.waits_in is not None
        self.queue_of(thread.waits_in).remove(thread.address)
        thread.waits_in = None

    def new_object(self, capability: Capability, domain: int) -> None:
        """An object that Retype has made."""
        address = capability.address
        match capability.kind:
            case Kind.CNODE:
                self.containers[address] = 1 << capability.bits
            case Kind.TCB:
                self.containers[address] = TCB_SLOTS
                self.threads[address] = Thread(address, domain=domain)
            case Kind.ENDPOINT:
                self.endpoints[address] = Endpoint()
            case Kind.NOTIFICATION:
                self.notifications[address] = Notification()
            case Kind.CHANNEL:
                self.containers[address] = 1
                self.channels[address] = Channel()
            case Kind.DEATH_NOTICE:
                self.containers[address] = 1
                self.notices[address] = Notice()
            case Kind.REPLY:
                self.replies[address] = None
            case Kind.SCHED_CONTEXT:
                self.contexts[address] = SchedContext(capability.bits)
            case _:
                pass
