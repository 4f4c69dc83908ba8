"""Why a thread does not run: what it waits for, who could give it that, why they do not run, and so on to the end.

For those who run the system: it looks at all of RAM and names everybody. Nothing here stores.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from kerneld import listening, scheduler
from kerneld.core import Core
from kerneld.cores.record import VirtualCore
from kerneld.places import Places, thread_name
from kerneld.records import CapType, KernelRecord, Notification, SchedContext, Tcb, ThreadState
from kerneld.survey import Survey, survey
from libsel4py.abi import IRQS, FaultLabel, Rights

LONGEST_CHAIN: Final = 32
_NAMED: Final = 4


@dataclass(frozen=True, slots=True)
class _Step:
    """One thread's sentence, and the thread that it waits for, if that is known."""

    text: str
    on: Tcb | None = None


def wait_chain(core: Core, thread: Tcb, what_went_wrong: Callable[[Tcb], str]) -> str:
    """The wait-for chain from the thread to its end, a line for each thread.

    Args:
        what_went_wrong: a thread's last refusal or fault in words, "" for none.
    """
    found = survey(core.ram)
    places = Places(found)
    lines: list[str] = []
    seen: list[Tcb] = []
    at: Tcb | None = thread
    while at is not None and len(lines) < LONGEST_CHAIN:
        if at in seen:
            lines.append(f"{thread_name(at)} stands in this chain already: they wait for each other for ever.")
            break
        seen.append(at)
        step = _step(found, places, at, what_went_wrong)
        lines.append(f"{thread_name(at)} {step.text}.")
        at = step.on
    return "\n".join(lines)


def _step(found: Survey, places: Places, thread: Tcb, what_went_wrong: Callable[[Tcb], str]) -> _Step:
    match thread.state:
        case ThreadState.BLOCKED_ON_SEND:
            return _sending(found, places, thread)
        case ThreadState.BLOCKED_ON_RECEIVE:
            return _receiving(found, places, thread)
        case ThreadState.BLOCKED_ON_REPLY:
            return _awaiting_reply(found, places, thread)
        case ThreadState.BLOCKED_ON_NOTIFICATION:
            return _awaiting_signal(found, places, thread)
        case ThreadState.INACTIVE:
            return _stopped(what_went_wrong(thread))
        case _:
            return _runnable(thread)


def _fault(thread: Tcb) -> str:
    """What a fault that waits for its handler is."""
    if not thread.fault_label:
        return ""
    label = FaultLabel(thread.fault_label)
    where = f" at address 0x{thread.fault_word1:x}" if label is FaultLabel.VM_FAULT else ""
    return f"has faulted ({label.name}{where}) and "


def _sending(found: Survey, places: Places, thread: Tcb) -> _Step:
    receivers = _who(found, places, CapType.ENDPOINT, thread.blocked_on, Rights.READ, thread)
    text = f"{_fault(thread)}waits until somebody receives on endpoint 0x{thread.blocked_on:x}"
    return _Step(f"{text}; {_named(receivers, 'can receive there')}", _server(found, receivers))


def _receiving(found: Survey, places: Places, thread: Tcb) -> _Step:
    at = thread.blocked_on
    senders = _who(found, places, CapType.ENDPOINT, at, Rights.WRITE, thread)
    return _Step(f"waits for a message on endpoint 0x{at:x}; {_named(senders, 'can send there')}")


def _awaiting_reply(found: Survey, places: Places, thread: Tcb) -> _Step:
    reply = thread.reply
    address = reply.address if reply is not None else 0
    servers = _who(found, places, CapType.REPLY, address, 0, thread)
    text = f"{_fault(thread)}waits for the reply to its call, by reply object 0x{address:x}"
    return _Step(f"{text}; {_named(servers, 'can reply')}", _server(found, servers))


def _awaiting_signal(found: Survey, places: Places, thread: Tcb) -> _Step:
    at = thread.blocked_on
    kernel = KernelRecord.of(found.ram)
    lines = [line for line in range(IRQS) if kernel.irq_slot(line).word0 and kernel.irq_slot(line).object == at]
    signallers = _who(found, places, CapType.NOTIFICATION, at, Rights.WRITE, thread)
    text = f"waits for a signal of notification 0x{at:x}; {_named(signallers, 'can signal it')}"
    if lines:
        text += f"; so does interrupt line {', '.join(map(str, lines))}"
    return _Step(text)


def _stopped(refusal: str) -> _Step:
    if not refusal:
        return _Step("is stopped: it was never resumed, or it was suspended")
    return _Step(f"is stopped. The last thing that went wrong in it: {refusal.rstrip('.')}")


def _runnable(thread: Tcb) -> _Step:
    context = thread.sched_context
    if context is None:
        return _Step("could run and has no scheduling context; it runs when one is bound, or lent by a call")
    if context.postponed:
        text = f"could run and has used up its budget of {context.budget} us in {context.period} us"
        return _Step(f"{text}; it goes on with the next refill")
    if not scheduler.has_time(context):
        return _Step("could run and its scheduling context has no budget; SchedControl.configure_flags gives it one")
    if thread.waits_turn:
        return _Step(f"could run, and waits for its turn on virtual core {context.core}", _runs_on(context))
    return _Step("may run: the kernel waits for its next system call" + _by_channels(thread))


def _runs_on(context: SchedContext) -> Tcb | None:
    return VirtualCore.of(context.ram, context.core).current


def _by_channels(thread: Tcb) -> str:
    """What a thread that may run can be waiting for on its own, since the kernel does not see what goes by channels."""
    target = listening.target_of(thread)
    text = ""
    if target is not None:
        what = "notification" if isinstance(target, Notification) else "endpoint"
        count = target.channel_count
        text = f". It listens to {what} 0x{target.address:x}, and waits on its own for what comes by {count} channels"
    if thread.channel_count:
        text += f". It has {thread.channel_count} channels, and waits on its own for the answer to a call by them"
    return text


def _who(found: Survey, places: Places, kind: CapType, address: int, right: int, but: Tcb) -> list[Tcb]:
    """Threads other than ``but`` that hold a capability to the object with this right; each once."""
    threads: dict[int, Tcb] = {}
    for held in found.slots.values():
        if held.kind != kind or held.cap.object != address or (right and not held.cap.rights & right):
            continue
        for owner in places.owners(held):
            if owner != but:
                threads[owner.address] = owner
    return list(threads.values())


def _named(threads: list[Tcb], ability: str) -> str:
    if not threads:
        return f"nobody {ability}"
    names = ", ".join(thread_name(thread) for thread in threads[:_NAMED])
    more = f" and {len(threads) - _NAMED} more" if len(threads) > _NAMED else ""
    return f"{names}{more} {ability}"


def _server(found: Survey, candidates: list[Tcb]) -> Tcb | None:
    """Whom to look at next: a task's first thread before its others. The initial task, which made most objects, only if
    there is nobody else."""
    initial = KernelRecord.of(found.ram).initial_tcb
    others = [thread for thread in candidates if thread != initial]
    return min(others or candidates, key=thread_name, default=None)
