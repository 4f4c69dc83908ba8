"""Requests on their way: what each is, where its data is, and who waits for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from libsel4py.interfaces.block import SECTOR_BYTES, DiskError
from libsel4py.virtio import Segment
from servers.block.commits import Commit
from servers.block.requests import MOST_SECTORS

Done = Callable[[DiskError | None], None]


@dataclass(slots=True, eq=False)
class Job:
    """A request: what it is, where its data is, and who waits. ``number`` counts up; ``alone``: it is not joined.

    ``commit``: what it does, if it is one; its data is there.
    """

    kind: int
    sector: int
    data: Segment | None
    done: Done
    number: int
    alone: bool = False
    tries: int = 1
    commit: Commit | None = None

    @property
    def end(self) -> int:
        """The sector behind it."""
        return self.sector + (self.data.size // SECTOR_BYTES if self.data else 0)


@dataclass(frozen=True, slots=True)
class Flight:
    """Jobs that the device has as one request, whose header and status are in a slot (of commits, or of the others)."""

    jobs: Sequence[Job]
    slot: int
    begun_ns: int


def fits(jobs: Sequence[Job], job: Job) -> bool:
    """Whether a job lies behind these, and can go with them."""
    last = jobs[-1]
    is_next = job.kind == last.kind and job.sector == last.end and not (job.alone or last.alone)
    return is_next and job.end - jobs[0].sector <= MOST_SECTORS
