"""TCB: a thread. Its methods, and what stopping or destroying a thread means.

Registers are `tcb_registers.py`'s, capability and address space `tcb_space.py`'s, priorities and budget
`tcb_scheduling.py`'s. Source: seL4 Reference Manual 6; SEL4 `decodeTCBInvocation`.
"""

from __future__ import annotations

from dataclasses import dataclass

from kerneld import channels, explain, ipc, listening, questions, threads
from kerneld.core import PREEMPTED, Call, Core, Invocation, Result
from kerneld.failures import illegal_operation, truncated_message
from kerneld.objects import notification, tcb_registers, tcb_scheduling, tcb_space
from kerneld.records import CapType, Notification, NotificationState, Tcb
from kerneld.work import Work
from libsel4py import abi
from libsel4py.abi import WORD_BYTES, Label, Rights

NAME_WORDS = Tcb.NAME_BYTES // WORD_BYTES
STANDBY_SUFFIX = abi.STANDBY_SUFFIX.encode()


@dataclass(frozen=True, slots=True)
class Suspend:
    target: Tcb

    def perform(self, core: Core) -> Result:
        threads.suspend(core, self.target)
        return ()


@dataclass(frozen=True, slots=True)
class Resume:
    target: Tcb

    def perform(self, core: Core) -> Result:
        ipc.restart(core, self.target)
        return ()


@dataclass(frozen=True, slots=True)
class BindNotification:
    target: Tcb
    notification: Notification

    def perform(self, core: Core) -> Result:
        if self.notification.listeners is None and not channels.sever_all(core, self.notification, Work()):
            return PREEMPTED  # they were connected for a thread that is there no more
        notification.bind(self.notification, self.target)
        if self.notification.state == NotificationState.ACTIVE:
            listening.hint(core, self.notification)
        return ()


@dataclass(frozen=True, slots=True)
class UnbindNotification:
    target: Tcb
    notification: Notification

    def perform(self, core: Core) -> Result:
        if not listening.part(core, self.target, Work()):
            return PREEMPTED
        notification.unbind(self.notification)
        return ()


@dataclass(frozen=True, slots=True)
class Explain:
    target: Tcb

    def perform(self, core: Core) -> Result:
        return questions.text_words(explain.why(core, self.target))


@dataclass(frozen=True, slots=True)
class SetName:
    target: Tcb
    words: tuple[int, ...]

    def perform(self, core: Core) -> Result:
        for index, word in enumerate(self.words):
            core.ram.set_word(self.target.address + Tcb.NAME + index * WORD_BYTES, word)
        return ()


def decode(core: Core, call: Call) -> Invocation:
    """A method of the TCB that ``call`` invokes.

    Raises:
        SyscallError: as seL4's `decodeTCBInvocation`, in its order.
    """
    target = Tcb(core.ram, call.slot.object)
    match call.label:
        case Label.TCB_SUSPEND:
            return Suspend(target)
        case Label.TCB_RESUME:
            return Resume(target)
        case Label.TCB_SET_NAME:
            return _decode_set_name(core, call, target)
        case Label.TCB_EXPLAIN:
            if call.thread != core.kernel.initial_tcb:
                raise illegal_operation("the initial task alone may ask why a thread waits: the answer names everybody")
            return Explain(target)
        case Label.TCB_BIND_NOTIFICATION:
            return _decode_bind_notification(core, call, target)
        case Label.TCB_UNBIND_NOTIFICATION:
            bound = target.bound_notification
            if bound is None:
                raise illegal_operation("no notification is bound to the thread")
            return UnbindNotification(target, bound)
        case label if label in tcb_registers.DECODERS:
            return tcb_registers.DECODERS[label](core, call, target)
        case label if label in tcb_space.DECODERS:
            return tcb_space.DECODERS[label](core, call, target)
        case label if label in tcb_scheduling.DECODERS:
            return tcb_scheduling.DECODERS[label](core, call, target)
        case _:
            raise illegal_operation(f"a TCB has no method with label {call.label}")


def _decode_set_name(core: Core, call: Call, target: Tcb) -> SetName:
    if len(call.words) < NAME_WORDS:
        raise truncated_message(f"SetName takes {NAME_WORDS} words")
    words = call.words[:NAME_WORDS]
    if call.thread != core.kernel.initial_tcb and _is_of_standby(words):
        suffix = STANDBY_SUFFIX.decode()
        raise illegal_operation(f"the initial task alone gives a name in {suffix}: its process writes in another's log")
    return SetName(target, words)


def _is_of_standby(words: tuple[int, ...]) -> bool:
    packed = b"".join(word.to_bytes(WORD_BYTES, "little") for word in words)
    return packed.rstrip(b"\0").endswith(STANDBY_SUFFIX)


def _decode_bind_notification(core: Core, call: Call, target: Tcb) -> BindNotification:
    if not call.caps:
        raise truncated_message("BindNotification takes the capability of a notification")
    if target.bound_notification is not None:
        raise illegal_operation("a notification is bound to the thread already; UnbindNotification frees it")
    slot = call.caps[0]
    if slot.cap_type != CapType.NOTIFICATION:
        raise illegal_operation("BindNotification takes the capability of a notification, and this is none")
    if not slot.rights & Rights.READ:
        raise illegal_operation("the notification capability lacks Read, so its signals cannot be received")
    bound = Notification(core.ram, slot.object)
    if bound.head is not None or bound.bound_tcb is not None:
        raise illegal_operation("threads wait on the notification, or it is bound to one already")
    if bound.listeners not in (None, target):
        raise illegal_operation("another thread listens to the notification")
    return BindNotification(target, bound)
