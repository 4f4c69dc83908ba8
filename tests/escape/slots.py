"""What an attempt's task finds in its capability space: a little of its own, and what its judge lets it see.

A task that is *granted* more, for an attempt to be shown to succeed, has every right on the same, and what lies from
`VICTIM` on, where other attempts find empty slots.
"""

from __future__ import annotations

from typing import Final

RADIX: Final = 6
WITNESS: Final = 1  # an endpoint: who answers there says which badge it saw. Rights: write, grant-reply
REPLY: Final = 2
SIGNAL: Final = 3  # a notification of the judge's: write, badge 1
INBOX: Final = 4  # an endpoint of the judge's: read
CANARY: Final = 5  # a frame that the judge looks at: read
OWN_CNODE: Final = 6
OWN_TCB: Final = 7  # its most controlled priority is 100
OWN_VSPACE: Final = 8
OWN_MEMORY: Final = 9  # untyped memory, 64 KiB
OWN_CONTEXT: Final = 10
SENT: Final = 11  # an endpoint at which the judge has a message waiting: nothing, or read
VICTIM: Final = 16  # a TCB that does not run
VICTIM_CNODE: Final = 17
VICTIM_VSPACE: Final = 18
VICTIM_CONTEXT: Final = 19
JUDGE: Final = 20  # the judge's TCB
MEMORY: Final = 21  # untyped memory, 1 MiB
SCHED_CONTROL: Final = 22
IRQ_CONTROL: Final = 23
IO_PORTS: Final = 24
DOMAIN: Final = 25
FREE: Final = 32  # empty from here on
END: Final = 1 << RADIX

PRIORITY: Final = 100
BADGE: Final = 0x11
MEMORY_BITS: Final = 16
PATTERN: Final = 0x5A
