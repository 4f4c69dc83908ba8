"""The boot image of attempts, and of the witness beside them. Arguments: what to be, and the attempt's number."""

from __future__ import annotations

from typing import Final

from libsel4py.lowlevel import syscalls
from libsel4py.lowlevel.syscalls import Message
from tests.escape import slots
from tests.escape.attempt import corpus, run
from tests.escape.stage import given

ATTEMPT, WITNESS, IDLE = range(3)
ASK, CHECK, END = 0x900, 0x901, 0x902  # labels
SERVED, LISTENED = 1, 2  # the witness's capabilities: what it serves, and its reply
CORPUS: Final = corpus()
STAGE: Final = given()


def witness(judge: int) -> int:
    """Answer each call with the badge that it came by; the judge's, with how many came by another than it knows."""
    syscalls.listen(SERVED)
    calls = strange = 0
    received = syscalls.recv(SERVED, LISTENED)
    while True:
        answer = Message(received.label, (received.badge, calls))
        if received.badge == judge and received.label == CHECK:
            answer = Message(CHECK, (calls, strange))
            calls = strange = 0
        elif received.badge == judge and received.label == END:
            syscalls.send(LISTENED, Message())
            return 0
        else:
            calls += 1
            strange += received.badge != slots.BADGE or received.extra_caps > 0
        received = syscalls.reply_recv(SERVED, answer, LISTENED)


def main(what: int, number: int = 0, *_: int) -> int:
    if what == WITNESS:
        return witness(number)
    return run(CORPUS[number], STAGE)
