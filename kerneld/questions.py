"""Questions that a thread asks about itself and about what it holds: EXPLAIN, IDENTIFY, and TCB.explain.

Rules: nothing here changes anything but the asking thread's completion. A thread learns of its own capability space;
badges are not told.
"""

from __future__ import annotations

import struct

from kerneld import caps, completion, cspace, explain
from kerneld.core import Core
from kerneld.failures import LookupFailure
from kerneld.records import CapType, Tcb
from libsel4py import abi


def text_words(text: str) -> tuple[int, ...]:
    """Text as message words: its length in bytes, then UTF-8, cut to what a message holds."""
    data = text.encode()[: explain.EXPLANATION_BYTES].decode(errors="ignore").encode()
    padded = data.ljust((len(data) + 7) // 8 * 8, b"\0")
    return (len(data), *struct.unpack(f"<{len(padded) // 8}Q", padded))


def answer_explain(core: Core, tcb: Tcb) -> None:
    """Complete EXPLAIN: why the thread's last refused system call was refused."""
    words = text_words(explain.last_refusal(core, tcb))
    completion.complete_with_words(core, tcb, abi.message_info(0, len(words)), words)


def answer_identify(core: Core, tcb: Tcb) -> None:
    """Complete IDENTIFY: type, rights, size of the capability at ``cptr``, and whether it is of device memory.

    Type NULL where there is none.
    """
    try:
        cap = caps.read(cspace.lookup_slot(tcb, tcb.cptr))
    except LookupFailure:
        cap = caps.NULL
    words = (int(cap.type), _rights(cap), _size_bits(cap), int(_is_device(cap)))
    completion.complete_with_words(core, tcb, abi.message_info(0, len(words)), words)


def _rights(cap: caps.Cap) -> int:
    match cap.type:
        case CapType.ENDPOINT | CapType.NOTIFICATION | CapType.REPLY | CapType.FRAME:
            return cap.rights
        case _:
            return 0


def _is_device(cap: caps.Cap) -> bool:
    match cap.type:
        case CapType.UNTYPED:
            return cap.is_device
        case CapType.FRAME:
            return cap.frame_is_device
        case _:
            return False


def _size_bits(cap: caps.Cap) -> int:
    found = caps.region(cap)
    return found[1].bit_length() - 1 if found is not None else 0
