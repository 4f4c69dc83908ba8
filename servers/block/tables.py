"""Who has which part of the disk: the description's ``partitions``, looked up in the disk's own table."""

from __future__ import annotations

from typing import Final

from libsel4py.dataspace import DataSpace
from libsel4py.interfaces.block import SECTOR_BYTES, BadRequest, DiskError
from libsel4py.partitions import BadTable, Partition, read_table
from libsel4py.task import Task
from servers.block.disk import Disk
from servers.block.requests import Extent, Piece

PARTITIONS: Final = "partitions"
READERS: Final = "readers"


class Extents:
    """The parts of a disk by client.

    Args:
        whole: the whole disk. numbers: partitions by client; None: everybody has the whole. readers: who may not write.
        table: the disk's partitions, or why there are none.
    """

    def __init__(
        self, whole: Extent, numbers: dict[str, int] | None, readers: set[str], table: dict[int, Partition] | str
    ) -> None:
        self._whole = whole
        self._numbers = numbers
        self._readers = readers
        self._table = table

    def of(self, client: str) -> Extent:
        """A client's part. Raises BadRequest, which says why it has none."""
        if self._numbers is None:
            found = Partition(0, self._whole.sectors)
        elif (number := self._numbers.get(client)) is None:
            raise BadRequest(f"the driver's description gives {client} no partition")
        elif isinstance(self._table, str):
            raise BadRequest(f"{client} has partition {number}, and the disk has none: {self._table}")
        elif number not in self._table:
            known = ", ".join(map(str, self._table)) or "none"
            raise BadRequest(f"{client} has partition {number}, which the disk has not: it has {known}")
        else:
            found = self._table[number]
        return Extent(found.first, found.sectors, self._whole.read_only or client in self._readers)


def extents(disk: Disk, task: Task) -> Extents:
    """What the task's configuration says. Raises ValueError: it makes no sense."""
    whole = Extent(0, disk.sectors, disk.read_only)
    configuration = task.environment.configuration
    readers = configuration.get(READERS, [])
    if not isinstance(readers, list) or not all(isinstance(each, str) for each in readers):
        raise ValueError(f"{READERS} lists clients' names")
    numbers = configuration.get(PARTITIONS)
    if numbers is None:
        return Extents(whole, None, set(map(str, readers)), {})
    if not isinstance(numbers, dict):
        raise ValueError(f"{PARTITIONS} gives partitions' numbers by client: {{ fs = 1 }}")
    chosen = {client: int(number) for client, number in numbers.items()}
    with DataSpace.allocate(4096, task) as space:
        reader = _Reader(disk, space)
        try:
            table: dict[int, Partition] | str = read_table(reader, disk.sectors)
        except (BadTable, DiskError) as error:
            table = str(error)
        reader.close()
    return Extents(whole, chosen, set(map(str, readers)), table)


class _Reader:
    """Reads sectors by waiting for them, before there are clients."""

    def __init__(self, disk: Disk, space: DataSpace) -> None:
        self._disk = disk
        self._mapping = space.attach()
        self._memory = disk.dma.map(space)

    def __call__(self, sector: int, count: int) -> bytes:
        ended: list[DiskError | None] = []
        self._disk.read_write(Piece(False, 0, sector, count * SECTOR_BYTES), self._memory, ended.append)
        while not ended:
            self._disk.kick(lambda: bool(ended))
        if ended[0] is not None:
            raise ended[0]
        return self._mapping.read(0, count * SECTOR_BYTES)

    def close(self) -> None:
        self._disk.dma.unmap(self._memory)
