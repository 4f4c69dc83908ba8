"""What the flags of `open` mean, worked out once for each combination: an enumeration's flags are slow to ask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from libsel4py.errors import InvalidMessage
from libsel4py.interfaces.file import Access, NotPermitted, OpenFlags

_NEED_WRITE: Final = OpenFlags.CREATE | OpenFlags.EXCLUSIVE | OpenFlags.TRUNCATE | OpenFlags.APPEND


@dataclass(frozen=True, slots=True)
class Opening:
    """A way to open a file. ``access`` is the right that it takes, as the number of an `Access`."""

    reads: bool
    writes: bool
    creates: bool
    is_exclusive: bool
    truncates: bool
    appends: bool
    access: int

    @classmethod
    def of(cls, flags: OpenFlags) -> Opening:
        """Those that make sense have READ or WRITE, and WRITE with all but READ."""
        reads, writes = bool(flags & OpenFlags.READ), bool(flags & OpenFlags.WRITE)
        return cls(
            reads,
            writes,
            bool(flags & OpenFlags.CREATE),
            bool(flags & OpenFlags.EXCLUSIVE and flags & OpenFlags.CREATE),
            bool(flags & OpenFlags.TRUNCATE),
            bool(flags & OpenFlags.APPEND),
            Access.READ * reads | Access.WRITE * writes,
        )


_OPENINGS: Final = {
    flags: Opening.of(OpenFlags(flags))
    for flags in range(64)
    if flags & OpenFlags.WRITE or (flags & OpenFlags.READ and not flags & _NEED_WRITE)
}


def opening(flags: int) -> Opening:
    """Raises InvalidMessage, NotPermitted."""
    found = _OPENINGS.get(flags)
    if found is not None:
        return found
    if flags < 64 and flags & OpenFlags.READ:
        raise NotPermitted("CREATE, EXCLUSIVE, TRUNCATE and APPEND need WRITE")
    raise InvalidMessage(f"flags {flags:#x} are no OpenFlags with READ or WRITE")
