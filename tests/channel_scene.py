"""What tests of channels begin with: a server that listens to an endpoint, and clients that can connect to it."""

from __future__ import annotations

from dataclasses import dataclass, field

from kerneld.outbox import Message, Tell
from kerneld.records import Channel, Endpoint, Notification, Slot, TcbSlot
from libsel4py import abi
from libsel4py.abi import Label, ObjectType, Rights, Syscall
from tests.harness import Completion, Machine, Thread

ENDPOINT, RECEIVER, NOTIFICATION, CHANNEL = 1, 2, 3, 10  # slots of a thread's CNode; channels from CHANNEL on
CHANNEL_TELLS = (Tell.CHANNEL_OPEN, Tell.CHANNEL_GONE, Tell.RECEIVER_DIED, Tell.HINT)


@dataclass(slots=True)
class ChannelScene:
    """A machine with one endpoint and one notification; slots are the initial task's.

    Attributes:
        way: the endpoint's copy that clients' capabilities are derived from, badge 7.
        server: has an address space of its own, and does not listen yet.
    """

    machine: Machine
    endpoint: int = field(init=False)
    notification: int = field(init=False)
    way: int = field(init=False)
    server: Thread = field(init=False)
    client: Thread = field(init=False)

    def __post_init__(self) -> None:
        self.endpoint = self.machine.retype(ObjectType.ENDPOINT)
        self.notification = self.machine.retype(ObjectType.NOTIFICATION)
        self.way = self.machine.copy(self.endpoint, badge=7)
        self.server = self.receiver("server")
        self.client = self.sender("client")

    def receiver(self, name: str, *, own_vspace: bool = True) -> Thread:
        """A thread that may receive from endpoint and notification."""
        thread = self.machine.thread(name, own_vspace=own_vspace)
        self.machine.grant(thread, self.endpoint, RECEIVER, Rights.READ)
        self.machine.grant(thread, self.notification, NOTIFICATION, Rights.READ)
        return thread

    def sender(self, name: str, *, channels: int = 1) -> Thread:
        """A thread that may call and signal, and has channels in its slots from CHANNEL on."""
        thread = self.machine.thread(name, own_vspace=True)
        self.machine.grant(thread, self.way, ENDPOINT)
        self.machine.grant(thread, self.notification, NOTIFICATION, Rights.WRITE, badge=4)
        self.more_channels(thread, 0, channels)
        return thread

    def more_channels(self, thread: Thread, first: int, count: int) -> None:
        if count:
            made = self.machine.retype(ObjectType.CHANNEL, 0, count)
            for number in range(count):
                words = (CHANNEL + first + number, 8, made + number, abi.WORD_BITS)
                self.machine.root.call(thread.cnode, Label.CNODE_MOVE, words, [abi.InitialSlot.CNODE])

    # --- what is done

    def listen(self, thread: Thread | None = None, cptr: int = RECEIVER) -> int:
        """The listener's number, or minus the error."""
        return answer((thread or self.server).syscall(Syscall.LISTEN, cptr))

    def connect(self, thread: Thread | None = None, cptr: int = ENDPOINT, channel: int = CHANNEL) -> int:
        """The channel's number, or minus the error."""
        error, words = (thread or self.client).invoke(channel, Label.CHANNEL_CONNECT, (), [cptr])
        return -error if error else words[0]

    def connected(self) -> Channel:
        """The client's first channel, connected to the listening server's endpoint; nothing is told any more."""
        assert self.listen() > 0
        assert self.connect() > 0
        self.machine.tells.clear()
        return self.channel()

    # --- what there is

    def channel(self, thread: Thread | None = None, slot: int = CHANNEL) -> Channel:
        held = self.slot_of(thread or self.client, slot)
        return Channel(self.machine.ram, held.object)

    def slot_of(self, thread: Thread, number: int) -> Slot:
        return Slot(self.machine.ram, self.machine.slot(thread.cnode).object + number * Slot.SIZE)

    def endpoint_record(self) -> Endpoint:
        return Endpoint(self.machine.ram, self.machine.slot(self.endpoint).object)

    def notification_record(self) -> Notification:
        return Notification(self.machine.ram, self.machine.slot(self.notification).object)

    def listen_slot(self, thread: Thread | None = None) -> Slot:
        return (thread or self.server).tcb.slot(TcbSlot.LISTEN)

    def told(self) -> list[Message]:
        """What the host was told of channels, since the last look."""
        found = [message for message in self.machine.tells if message.kind in CHANNEL_TELLS]
        self.machine.tells.clear()
        return found

    def kinds(self) -> list[Tell]:
        return [message.kind for message in self.told()]


def answer(done: Completion | None) -> int:
    """The first word of an answer, or minus its error."""
    assert done is not None, "the system call has not completed"
    return -done.label if done.label else done.registers[0]
