"""The kernel's half of the trap ring: take submissions, publish completions, say whether a doorbell is needed.

Layout and who writes what: `libsel4py.abi`, "the trap frame". Everything read here is hostile; `take` copies an
entry once, and an impossible producer index comes back as an entry with op `OVERRUN`.
"""

from typing import Final

from hw._ram import (
    complete,
    deliver,
    hint,
    produced,
    publish,
    set_consumed,
    take,
    take_into,
    take_tail,
    wake,
    watch,
)

OVERRUN: Final = -(1 << 31)  # op of an entry whose cptr is the impossible index

__all__ = [
    "OVERRUN",
    "complete",
    "deliver",
    "hint",
    "produced",
    "publish",
    "set_consumed",
    "take",
    "take_into",
    "take_tail",
    "wake",
    "watch",
]
