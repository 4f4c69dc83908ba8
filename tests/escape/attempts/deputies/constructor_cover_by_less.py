"""Have a hole taken for something that the requestor approves of, which is another or less.

Stopped by: server
Outside: no, the kernel says whether it is the same
"""

from __future__ import annotations

from libsel4py.abi import Rights
from libsel4py.capabilities import Capability
from libsel4py.interfaces.constructor import Constructor, MetaConstructor, Requestor
from tests.escape.held import Held


def attempt(held: Held) -> object:
    builder = Constructor(held.to(MetaConstructor, "constructor").constructor())
    task = held.task
    less = task.slots.allocate()
    task.cnode.copy(less, task.cnode, task.notification.cptr, Rights.READ)
    builder.install("mail", "x:X", task.notification)
    builder.program("apps.vendor.adviser", "libsel4py.interfaces.adviser:Adviser", 24, 14)
    requestor = Requestor(builder.seal())
    assert requestor.covers("mail", task.notification)
    found = requestor.covers("mail", Capability(less)) or requestor.covers("mail", task.vspace)
    builder.destroy()
    task.delete(Capability(less))
    return found
