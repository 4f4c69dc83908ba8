"""Frame: memory that tasks, kernel and devices can share (manual 7.1.2). Its bytes are no kernel record.

What a frame is stands in its capabilities alone: address, size, rights, and where that capability is mapped.
"""

from __future__ import annotations

from dataclasses import dataclass

from kerneld.core import Call, Core, Invocation, Result
from kerneld.failures import illegal_operation
from libsel4py.abi import Label


@dataclass(frozen=True, slots=True)
class GetAddress:
    address: int

    def perform(self, core: Core) -> Result:
        return (self.address,)


def decode(core: Core, call: Call) -> Invocation:
    """The checked method of a frame capability.

    Raises:
        SyscallError: ILLEGAL_OPERATION for any label but GetAddress.
    """
    if call.label != Label.FRAME_GET_ADDRESS:
        raise illegal_operation(f"a frame has no method with label {call.label}")
    return GetAddress(call.slot.object)
