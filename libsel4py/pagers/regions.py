"""What a pager knows of one address space: which addresses stand for which part of which memory object."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from libsel4py.abi import MAPPING_BASE, MAPPING_END, Rights
from libsel4py.capabilities import Endpoint, Frame, VSpace

if TYPE_CHECKING:
    from libsel4py.pagers.residence import Page, Residence


@dataclass(slots=True, eq=False)
class Region:
    """A range of addresses of a space (KeyKOS and RefOS: a window) that shows an object's bytes from ``offset`` on.

    Attributes:
        rights: what threads may do there. ahead: pages behind a faulting one that are mapped along with it.
    """

    space: Space
    address: int
    size: int
    residence: Residence
    offset: int
    rights: int
    ahead: int

    @property
    def end(self) -> int:
        return self.address + self.size

    def offset_of(self, address: int) -> int:
        """The object's offset of the page that an address lies in."""
        page_bytes = self.residence.page_bytes
        return (self.offset + address - self.address) // page_bytes * page_bytes

    def address_of(self, offset: int) -> int:
        return self.address + offset - self.offset


@dataclass(slots=True)
class Mapped:
    """A page as a space sees it: the capability by which it is mapped, and with which rights."""

    page: Page
    frame: Frame
    rights: int


@dataclass(slots=True, eq=False)
class Space:
    """An address space that a pager serves.

    Attributes:
        threads: for each thread, by the badge of its faults, the endpoint that is told what is not the pager's
        business. alive: those that have not ended. mapped: by address of the page.
        lost: what its threads had seen went with a former life of the pager; their memory faults are refused until all
        of them have ended.
    """

    vspace: VSpace
    name: str = "?"
    threads: dict[int, Endpoint | None] = field(default_factory=dict)
    alive: set[int] = field(default_factory=set)
    lost: bool = False
    mapped: dict[int, Mapped] = field(default_factory=dict)
    _regions: list[Region] = field(default_factory=list)

    @property
    def regions(self) -> tuple[Region, ...]:
        """By ascending address."""
        return tuple(self._regions)

    def find(self, address: int) -> Region | None:
        """The region that an address lies in."""
        index = bisect_right(self._regions, address, key=lambda region: region.address)
        region = self._regions[index - 1] if index else None
        return region if region is not None and address < region.end else None

    def insert(self, region: Region) -> None:
        """Add a region.

        Raises:
            ValueError: it overlaps another, has no whole pages, or lies where the kernel maps nothing.
        """
        page_bytes = region.residence.page_bytes
        if region.size <= 0 or (region.address | region.size | region.offset) % page_bytes:
            raise ValueError(
                f"address {region.address:#x}, offset {region.offset:#x} and size {region.size:#x} of a region "
                f"must be multiples of its pages' {page_bytes} bytes, and the size not 0"
            )
        if region.address < MAPPING_BASE or region.end > MAPPING_END:
            raise ValueError(
                f"region {region.address:#x}..{region.end:#x} is outside of {MAPPING_BASE:#x}..{MAPPING_END:#x}, "
                "where frames can be mapped"
            )
        if not region.rights & Rights.READ or region.rights & ~(Rights.READ | Rights.WRITE):
            raise ValueError(f"rights {region.rights:#x} of a region: give Rights.READ, or READ | WRITE")
        for other in self._regions:
            if region.address < other.end and other.address < region.end:
                raise ValueError(
                    f"region {region.address:#x}..{region.end:#x} overlaps {other.address:#x}..{other.end:#x}"
                )
        index = bisect_right(self._regions, region.address, key=lambda each: each.address)
        self._regions.insert(index, region)

    def remove(self, region: Region) -> None:
        """Forget a region. Raises ValueError if it is none of this space's."""
        self._regions.remove(region)
