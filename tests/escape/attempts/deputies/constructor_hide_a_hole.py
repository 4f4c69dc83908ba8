"""Install what something could get out by, under the form of what it could not, and behind the seal.

Stopped by: server
Outside: no, what a capability is says the kernel
"""

from __future__ import annotations

import contextlib

from libsel4py.capabilities import Capability
from libsel4py.errors import KernelError, ServiceError
from libsel4py.interfaces.constructor import Constructor, MetaConstructor, NotConfined, Requestor
from tests.escape.held import Held

IMAGE, INTERFACE = "apps.vendor.adviser", "libsel4py.interfaces.adviser:Adviser"


def requestor_of(builder: Constructor) -> Requestor:
    builder.program(IMAGE, INTERFACE, 24, 14)
    return Requestor(builder.seal())


def attempt(held: Held) -> object:
    meta = held.to(MetaConstructor, "constructor")
    with held.canary() as canary, held.pool(13) as pool:
        tight = Constructor(meta.constructor())
        assert not tight.install("words", "memory", canary.share()), "memory to be read is said to be a hole"
        sealed = requestor_of(tight)
        with contextlib.suppress(ServiceError):
            tight.install("behind", "memory", held.task.notification)
            return True
        with contextlib.suppress(KernelError, ServiceError):
            sealed.new(pool.untyped, [])  # refused for the want of memory alone
        tight.destroy()
        with held.memory() as (space, _):
            for cptr in (space.frames[0].cptr, *held.strange()[:5]):
                leaky = Constructor(meta.constructor())
                leaky.install("words", "memory", Capability(cptr))
                requestor = requestor_of(leaky)
                try:
                    if requestor.holes() != ["words"]:
                        return True
                    requestor.new(pool.untyped, ["other"])
                    return True
                except NotConfined:
                    continue
                finally:
                    leaky.destroy()
    return None
