"""VSpace: an address space, which is a process of the host. What joining and leaving it means: `kerneld/threads.py`."""

from __future__ import annotations

from kerneld.core import Call, Core, Invocation
from kerneld.failures import illegal_operation


def decode(core: Core, call: Call) -> Invocation:
    """A VSpace has no methods: threads get it by their TCB's Configure and SetSpace.

    Raises:
        SyscallError: ILLEGAL_OPERATION, always.
    """
    raise illegal_operation(f"a VSpace has no method with label {call.label}")
