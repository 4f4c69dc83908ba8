"""Memory that a task sees: a range of its address space, guarded to read and write, or in place without copying.

    mapping.read(offset, length)      a copy; raises VMFault where the memory is gone and nobody brings it back
    mapping.write(offset, data)
    memoryview(mapping), numpy.frombuffer(mapping)      the memory itself

Rules: what is in place is not guarded. Where its memory has been taken away (its giver revoked it, say), touching it is
a fault of the thread, which waits for its pager; where it has none the task ends. So a server reads what a client lends
it through `Mapping.read` and `Mapping.copy`, or lends the memory itself (docs/guide/memory.md, "Whose memory it is").
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from libsel4py.lowlevel.machine import machine

if TYPE_CHECKING:
    from typing_extensions import Buffer


class Mapping(Protocol):
    """What `hw.cpu.Mapping` gives; it has the buffer protocol as well, for bytes (format B).

    Attributes:
        address: of its first byte. size: in bytes, as is ``len(mapping)``. writable: whether `write` may work.
    """

    @property
    def address(self) -> int: ...
    @property
    def size(self) -> int: ...
    @property
    def writable(self) -> bool: ...
    def __len__(self) -> int: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...

    def read(self, offset: int, length: int, /) -> bytes:
        """A copy of ``length`` bytes from ``offset`` on.

        Raises:
            ValueError: they are not all in the mapping, or it was released.
            VMFault: the memory at some of them is not there, and nobody brings it.
        """

    def write(self, offset: int, data: Buffer, /) -> None:
        """Put bytes there. Raises ValueError, VMFault as `read`, and TypeError where it is read-only."""

    def copy(self, offset: int, source: Mapping, source_offset: int, length: int, /) -> None:
        """Bytes of another mapping (or the same one) to here, guarded on both sides. Raises as `write`."""

    def load_word(self, offset: int, /) -> int:
        """A word of 64 bits, by one load; what is loaded after it is at least as new (acquire).

        Raises:
            ValueError: the offset is no multiple of 8, or not in the mapping. VMFault.
        """

    def store_word(self, offset: int, value: int, /) -> None:
        """Set a word, by one store; who sees it sees all that was stored before it (release).

        Raises:
            ValueError, VMFault: as `load_word`. TypeError: it is read-only. OverflowError: it does not fit 64 bits.
        """

    def store_then_load(self, offset: int, value: int, look: int, /) -> int:
        """Set a word, and only then load the one at offset ``look``: for who says something and then looks whether the
        other side has said something meanwhile. Raises as `store_word`."""

    def load_register(self, offset: int, width: int, /) -> int:
        """1, 2 or 4 bytes by one load: of a device's registers (`libsel4py.registers`).

        Raises:
            ValueError: the width is another one, the offset no multiple of it, or not in the mapping. VMFault.
        """

    def store_register(self, offset: int, width: int, value: int, /) -> None:
        """Set one, by one store. Raises as `load_register`; TypeError: it is read-only. OverflowError: too large."""

    def release(self) -> None:
        """End it: nothing can be read through it any more. The memory stays mapped; who mapped it unmaps it then.

        Raises:
            BufferError: a memoryview (or an array) of it is still in use.
        """


def map_memory(address: int, size: int, writable: bool) -> Mapping:
    """A view of what is, or will be, mapped at these addresses.

    Raises:
        ValueError: not all of them are among the addresses at which the kernel maps frames.
    """
    return machine.Mapping(address, size, writable)
