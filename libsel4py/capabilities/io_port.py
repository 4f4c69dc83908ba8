"""IOPortControl and IOPort: device registers behind ports (manual, chapter 8.2)."""

from __future__ import annotations

from libsel4py.abi import Label
from libsel4py.capabilities.base import CSPACE_DEPTH, Capability
from libsel4py.capabilities.cnode import CNode
from libsel4py.lowlevel.invoke import invoke


class IOPortControl(Capability):
    """The authority to make port capabilities."""

    __slots__ = ()

    def issue(self, first_port: int, last_port: int, root: CNode, index: int, depth: int = CSPACE_DEPTH) -> None:
        """Make a capability to ``first_port``..``last_port``. Raises RevokeFirst if any of them is issued already."""
        invoke(
            self.cptr,
            Label.IO_PORT_CONTROL_ISSUE,
            first_port=first_port,
            last_port=last_port,
            root=root.cptr,
            index=index,
            depth=depth,
        )


class IOPort(Capability):
    """A range of ports. Each access raises IllegalOperation outside of the range."""

    __slots__ = ()

    def in8(self, port: int) -> int:
        """Read 8 bits."""
        return invoke(self.cptr, Label.IO_PORT_IN8, port=port)[0]

    def in16(self, port: int) -> int:
        """Read 16 bits."""
        return invoke(self.cptr, Label.IO_PORT_IN16, port=port)[0]

    def in32(self, port: int) -> int:
        """Read 32 bits."""
        return invoke(self.cptr, Label.IO_PORT_IN32, port=port)[0]

    def out8(self, port: int, data: int) -> None:
        """Write 8 bits."""
        invoke(self.cptr, Label.IO_PORT_OUT8, port=port, data=data)

    def out16(self, port: int, data: int) -> None:
        """Write 16 bits."""
        invoke(self.cptr, Label.IO_PORT_OUT16, port=port, data=data)

    def out32(self, port: int, data: int) -> None:
        """Write 32 bits."""
        invoke(self.cptr, Label.IO_PORT_OUT32, port=port, data=data)
