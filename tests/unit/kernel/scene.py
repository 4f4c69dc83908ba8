"""What most tests of messages need: a machine, an endpoint, and threads that hold capabilities to it."""

from collections.abc import Sequence

from kerneld import cspace
from kerneld.records import Endpoint, Notification, Reply, SchedContext
from libsel4py import abi
from libsel4py.abi import Label, ObjectType, Rights, Syscall
from tests.harness import OWN_REPLY, Completion, Machine, Thread

ENDPOINT = 1  # slot of the endpoint in each thread's CNode
OTHER = 2
SPARE = 20  # slots from here on are empty


class Scene:
    """A machine with one endpoint.

    Attributes:
        endpoint: its slot in the initial task's CNode.
    """

    def __init__(self, check: bool = True, machine: Machine | None = None) -> None:
        self.machine = machine or Machine(check=check)
        self.endpoint = self.machine.retype(ObjectType.ENDPOINT)

    def thread(
        self,
        name: str,
        *,
        rights: int = Rights.ALL,
        badge: int | None = None,
        priority: int = 100,
        passive: bool = False,
        fault_endpoint: int = 0,
    ) -> Thread:
        """A thread with a capability to the endpoint."""
        thread = self.machine.thread(name, priority=priority, passive=passive, fault_endpoint=fault_endpoint)
        self.machine.grant(thread, self.endpoint, ENDPOINT, rights, badge)
        return thread

    def endpoint_record(self) -> Endpoint:
        return Endpoint(self.machine.ram, self.machine.slot(self.endpoint).object)

    def notification_record(self, slot: int) -> Notification:
        return Notification(self.machine.ram, self.machine.slot(slot).object)

    def context_record(self, slot: int) -> SchedContext:
        return SchedContext(self.machine.ram, self.machine.slot(slot).object)

    def suspend(self, thread: Thread) -> None:
        self.machine.root.call(thread.cap, Label.TCB_SUSPEND)

    def resume(self, thread: Thread) -> None:
        self.machine.root.call(thread.cap, Label.TCB_RESUME)


def receive(thread: Thread, cptr: int = ENDPOINT) -> Completion | None:
    """Recv with the thread's own reply object."""
    return thread.syscall(Syscall.RECV, cptr, reply=OWN_REPLY)


def send(thread: Thread, words: Sequence[int] = (), *, label: int = 0, caps: Sequence[int] = ()) -> Completion | None:
    return thread.syscall(Syscall.SEND, ENDPOINT, words=words, label=label, caps=caps)


def call(thread: Thread, words: Sequence[int] = (), *, label: int = 0, caps: Sequence[int] = ()) -> Completion | None:
    return thread.syscall(Syscall.CALL, ENDPOINT, words=words, label=label, caps=caps)


def reply(thread: Thread, words: Sequence[int] = (), *, label: int = 0, caps: Sequence[int] = ()) -> None:
    """Answer by the thread's own reply object, without waiting for the next message."""
    assert thread.syscall(Syscall.SEND, OWN_REPLY, words=words, label=label, caps=caps) is not None


def reply_receive(
    thread: Thread, words: Sequence[int] = (), *, label: int = 0, caps: Sequence[int] = ()
) -> Completion | None:
    return thread.syscall(Syscall.REPLY_RECV, ENDPOINT, words=words, label=label, caps=caps, reply=OWN_REPLY)


def reply_object(scene: Scene, thread: Thread) -> Reply:
    """The record of the thread's own reply object."""
    return Reply(scene.machine.ram, cspace.lookup_slot(thread.tcb, OWN_REPLY).object)


def message(done: Completion | None) -> tuple[int, int, tuple[int, ...]]:
    """Badge, label and words of a completion that must be there."""
    assert done is not None
    return done.badge, done.label, done.words


def extra_caps(done: Completion | None) -> int:
    assert done is not None
    return abi.info_extra_caps(done.info)


def caps_unwrapped(done: Completion | None) -> int:
    assert done is not None
    return abi.info_caps_unwrapped(done.info)
