"""Why a system call was refused, and why a thread does not run: sentences for people.

Rules: nothing here stores, and nothing in the kernel decides by it. `last_refusal` is what a thread may ask of
itself by the EXPLAIN system call: its work is bounded, and it speaks of the thread's own capability space only.
`account` and `why` are for those who run the system: they look at all of RAM and name everybody.
"""

from __future__ import annotations

from typing import Final

from kerneld import caps, cspace, waiting
from kerneld.caps import Cap
from kerneld.core import Core, Deletion, Refusal
from kerneld.failures import Fault, LookupFailure, SyscallError
from kerneld.places import Places, thread_name
from kerneld.records import CapType, Slot, Tcb, TcbSlot
from kerneld.refusals import EmptySlot, NotEnoughMemory
from kerneld.survey import holders, survey
from libsel4py import abi
from libsel4py.abi import Error, FaultLabel, Rights, Syscall

EXPLANATION_BYTES: Final = (abi.MESSAGE_MAX_LENGTH - 1) * abi.WORD_BYTES  # what fits the reply to EXPLAIN
OWN_SLOTS: Final = 512  # of the thread's CNode that are searched for memory: all others wait so long
LISTED: Final = 4  # places named in one sentence
_LABELS: Final = frozenset(int(label) for label in abi.INVOCATIONS)
_RIGHT_NAMES: Final = {
    Rights.READ: "Read",
    Rights.WRITE: "Write",
    Rights.GRANT: "Grant",
    Rights.GRANT_REPLY: "GrantReply",
}
_MESSAGE_TYPES: Final = (CapType.ENDPOINT, CapType.NOTIFICATION, CapType.REPLY)


def last_refusal(core: Core, thread: Tcb) -> str:
    """Why the thread's last refused or faulting system call was refused; "" if none is known.

    At most EXPLANATION_BYTES of UTF-8, the most important first.
    """
    refusal = core.diagnostics.refusals.get(thread.address)
    if refusal is None:
        return ""
    text = " ".join(sentence for sentence in _sentences(core, thread, refusal) if sentence)
    return text.encode()[:EXPLANATION_BYTES].decode(errors="ignore")


def account(core: Core, thread: Tcb) -> str:
    """As `last_refusal`, and who else has a capability to the object that was invoked."""
    refusal = core.diagnostics.refusals.get(thread.address)
    if refusal is None:
        return ""
    sentences = _sentences(core, thread, refusal)
    slot = _resolve(thread, refusal.cptr)
    if isinstance(slot, Slot) and slot.word0:
        found = survey(core.ram)
        places = Places(found)
        named = [
            f"{places.name(held)} ({describe_rights(held.cap)})"
            for held in holders(found, caps.read(slot))
            if held.address != slot.address
        ]
        sentences.append(
            f"The same object is named by {_list(named, len(named))}." if named else "Nobody else names this object."
        )
    return " ".join(sentence for sentence in sentences if sentence)


def why(core: Core, thread: Tcb) -> str:
    """Why the thread does not run: what it waits for, who could give it that, why they do not run, and so on."""
    return waiting.wait_chain(core, thread, lambda at: last_refusal(core, at))


def describe(cap: Cap) -> str:
    """A capability for people: type, object, badge, rights."""
    if cap.is_null:
        return "no capability"
    text = f"{cap.type.name} capability"
    if cap.object:
        text += f" to 0x{cap.object:x}"
    if cap.type in caps.ENDPOINT_LIKE and cap.badge:
        text += f", badge {cap.badge}"
    if cap.is_mapped:
        text += f", mapped at 0x{cap.mapped_address:x}"
    rights = describe_rights(cap)
    return f"{text}, {rights}" if rights else text


def describe_rights(cap: Cap) -> str:
    """``Read, Write`` for types that have rights, "" for others."""
    if cap.type not in (*_MESSAGE_TYPES, CapType.FRAME):
        return ""
    return "+".join(name for right, name in _RIGHT_NAMES.items() if cap.rights & right) or "no rights"


def _sentences(core: Core, thread: Tcb, refusal: Refusal) -> list[str]:
    match refusal.failure:
        case SyscallError() as error:
            return _error_sentences(core, thread, refusal, error)
        case Fault() as fault:
            return _fault_sentences(core, thread, fault)


def _error_sentences(core: Core, thread: Tcb, refusal: Refusal, error: SyscallError) -> list[str]:
    slot = _resolve(thread, refusal.cptr)
    cap = caps.read(slot) if isinstance(slot, Slot) else caps.NULL
    at = f"0x{refusal.cptr:x}"
    sentences = [
        f"{_method(refusal.label, cap)} on capability address {at} was refused ({error.error.name}): {error.why}.",
        _payload(error),
        f"{at} names {describe(cap)}." if isinstance(slot, Slot) else f"{at} does not resolve: {slot}.",
    ]
    if isinstance(slot, Slot) and cap.is_null:
        sentences.append(_history(core, slot.address))
    if isinstance(error, EmptySlot):
        sentences.append(_history(core, error.slot))
    if isinstance(error, NotEnoughMemory):
        sentences.append(_where_memory_is(core, thread, error.needed))
    return sentences


def _method(label: int, cap: Cap) -> str:
    """The name of the method that a label means for this kind of capability."""
    if label == Syscall.LISTEN:
        return "LISTEN"
    if cap.is_null or cap.type in _MESSAGE_TYPES or label not in _LABELS:
        return f"The message with label {label}"
    row = abi.INVOCATIONS[abi.Label(label)]
    return f"{row.object}.{row.name}"


def _payload(error: SyscallError) -> str:
    words = error.words
    match error.error:
        case Error.RANGE_ERROR:
            return f"Allowed are {words[0]}..{words[1]}."
        case Error.INVALID_ARGUMENT:
            return f"It is argument {words[0]}, counted from 0."
        case Error.INVALID_CAPABILITY if words[0]:
            return f"It is capability argument {words[0]}, counted from 1."
        case Error.FAILED_LOOKUP:
            return f"The {'source' if words[0] else 'destination'} did not resolve."
        case _:
            return ""


def _fault_sentences(core: Core, thread: Tcb, fault: Fault) -> list[str]:
    if fault.label is not FaultLabel.CAP_FAULT:
        return [f"The thread faulted ({fault.label.name}): {fault.where}.", _handler(thread)]
    cptr, receiving = fault.words[:2]
    phase = "Receiving from" if receiving else "Sending to"
    sentences = [f"{phase} capability address 0x{cptr:x} faulted: {fault.where}."]
    slot = _resolve(thread, cptr)
    if isinstance(slot, Slot):
        sentences.append(f"It names {describe(caps.read(slot))}.")
        if not slot.word0:
            sentences.append(_history(core, slot.address))
    sentences.append(_handler(thread))
    return sentences


def _handler(thread: Tcb) -> str:
    if thread.slot(TcbSlot.FAULT_HANDLER).word0:
        return ""
    return "The thread has no fault endpoint, so it stopped for good; TCB.set_space or set_sched_params gives it one."


def _resolve(thread: Tcb, cptr: int) -> Slot | str:
    """The slot that an address names now, or why it names none."""
    try:
        return cspace.lookup_slot(thread, cptr)
    except LookupFailure as failure:
        return failure.where


def _history(core: Core, slot: int) -> str:
    """What became of the capability that a slot held last."""
    last: Deletion | None = None
    for deletion in core.deletions():
        if deletion.slot == slot:
            last = deletion
    if last is None:
        return "Nothing is known to have been deleted from this slot."
    who = thread_name(core.tcb(last.thread)) if last.thread else "the kernel"
    held = describe(Cap(last.word0, last.word1))
    if last.revoked:
        return f"The slot held {held}; {who} revoked what it was made from."
    return f"The slot held {held}; {who} deleted it, or the CNode that it was in."


def _where_memory_is(core: Core, thread: Tcb, needed: int) -> str:
    """Which untyped memory in the thread's own first CNode would have been large enough."""
    root = caps.read(thread.slot(TcbSlot.CSPACE))
    if root.type is not CapType.CNODE:
        return ""
    total = 1 << root.radix
    looked_at = min(total, OWN_SLOTS)
    words = core.ram.words(root.object, looked_at * Slot.SIZE // abi.WORD_BYTES)
    fitting = []
    for number, word0 in enumerate(words[::4]):
        if word0 >> caps.TYPE_SHIFT == CapType.UNTYPED:
            cap = Cap(word0, words[4 * number + 1])
            left = (1 << cap.size_bits) - cap.free_index
            if left >= needed and not cap.is_device:
                fitting.append((number, left))
    seen = "" if looked_at == total else f" (the first {looked_at} of its CNode's {total} slots were looked at)"
    if not fitting:
        return f"No untyped memory in the thread's CNode has {needed} bytes left{seen}."
    named = [f"slot {number} ({left} bytes left)" for number, left in fitting[:LISTED]]
    return f"Untyped memory with {needed} bytes left{seen}: {_list(named, len(fitting))}."


def _list(items: list[str], total: int) -> str:
    text = ", ".join(items[:LISTED])
    return f"{text} and {total - LISTED} more" if total > LISTED else text
