"""What a constructor holds for its products, and which of it is a hole.

Rule: what a capability is says the kernel. An interface is a name that the builder gives it, and proves nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from libsel4py.abi import CapType
from libsel4py.capabilities import Capability
from libsel4py.interfaces.constructor import MOST_PARTS, NAME_BYTES, BadPart, NotConfined, NotSealed, Part, Sealed
from libsel4py.lowlevel.identify import Identity, identify, is_same

MEMORY_BITS: Final = range(22, 31)  # 4 MiB to 1 GiB
POOL_BITS: Final = range(12, 31)


def is_hole(found: Identity) -> bool:
    """Whether something could get out by a capability: by all but memory that can only be read.

    Reading memory tells nobody anything. A device's registers can be changed by reading them. Who only receives at an
    endpoint, or waits for a notification, takes what others would have had, and so tells them.
    """
    return found.type != CapType.FRAME.name or "W" in found.rights or found.is_device


@dataclass(frozen=True, slots=True)
class Program:
    """What products run: the boot image, what it provides, and their sizes."""

    image: str
    number: int
    interface: str
    memory_bits: int
    pool_bits: int


@dataclass(slots=True)
class Installed:
    """A part, and the capability to it, which nobody else can exchange."""

    part: Part
    capability: Capability


@dataclass(slots=True)
class Contents:
    """Of one constructor. ``owner``: the builder's name."""

    owner: str
    program: Program | None = None
    installed: dict[str, Installed] = field(default_factory=dict)
    is_sealed: bool = False

    def set_program(self, program: Program) -> None:
        """Raises Sealed, BadPart."""
        self._ensure_open()
        if program.memory_bits not in MEMORY_BITS or program.pool_bits not in POOL_BITS:
            raise BadPart("a product has 2**22 to 2**30 bytes of memory, and a pool of 2**12 to 2**30")
        self.program = program

    def install(self, name: str, interface: str, capability: Capability) -> bool:
        """Whether it is a hole. Raises Sealed, BadPart; then the capability is the caller's still."""
        self._ensure_open()
        found = identify(capability.cptr)
        if found.type == CapType.NULL.name:
            raise BadPart(f"what is to be installed as {name!r} is gone already")
        if not name or len(name.encode()) > NAME_BYTES or len(interface.encode()) > 2 * NAME_BYTES:
            raise BadPart(f"{name!r} is no name: it has 1 to {NAME_BYTES} bytes, and an interface {2 * NAME_BYTES}")
        if name in self.installed or len(self.installed) >= MOST_PARTS:
            raise BadPart(f"{name!r} is installed already, or {MOST_PARTS} parts are")
        part = Part(name, interface, found.type, found.rights, is_hole(found))
        self.installed[name] = Installed(part, capability)
        return part.is_hole

    def seal(self) -> None:
        """Raises NotSealed."""
        if self.program is None:
            raise NotSealed("it has no program: call program() first")
        self.is_sealed = True

    def parts(self) -> list[Part]:
        return [each.part for each in self.installed.values()]

    def holes(self) -> list[str]:
        return [part.name for part in self.parts() if part.is_hole]

    def covers(self, name: str, approved: Capability) -> bool:
        """Whether a part is no more than what a requestor approves of. Raises BadPart."""
        installed = self.installed.get(name)
        if installed is None:
            raise BadPart(f"there is no part {name!r}; there are {', '.join(self.installed) or 'none'}")
        mine, theirs = installed.capability.cptr, approved.cptr
        return is_same(mine, theirs) and set(identify(mine).rights) <= set(identify(theirs).rights)

    def ensure_confined(self, accepted: list[str]) -> None:
        """Raises NotConfined."""
        refused = [name for name in self.holes() if name not in accepted]
        if refused:
            raise NotConfined(f"something could get out by {', '.join(refused)}")

    def _ensure_open(self) -> None:
        if self.is_sealed:
            raise Sealed("it is sealed: what requestors were told stays so")
