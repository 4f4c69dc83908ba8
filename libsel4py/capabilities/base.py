"""What all capability classes share: an address in the task's own capability space.

A capability object is only the address (CPtr) with a type that the program believes; the kernel decides at each
invocation whether the slot holds such an object. Making, copying or dropping these Python objects changes no
capability: CNode methods do.
"""

from __future__ import annotations

from typing import Final

CSPACE_DEPTH: Final = 64  # bits resolved where a slot is named by index in a task's own CSpace


class Capability:
    """The address of a capability. Two are equal if type and address are.

    Raises:
        ValueError: ``cptr`` does not fit 64 bits.
    """

    __slots__ = ("cptr",)

    def __init__(self, cptr: int) -> None:
        if not 0 <= cptr < 1 << 64:
            raise ValueError(f"capability address {cptr} does not fit 64 bits unsigned")
        self.cptr = int(cptr)

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and isinstance(other, Capability) and other.cptr == self.cptr

    def __hash__(self) -> int:
        return hash((type(self), self.cptr))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.cptr})"


def address(capability: Capability | None) -> int:
    """The CPtr to send for an optional capability: 0, the null capability, for None."""
    return 0 if capability is None else capability.cptr
