"""What attempts on servers have: a component's own connections, and whatever answers at its other capabilities."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

from libsel4py import Endpoint, Interface
from libsel4py.dataspace import DataSpace
from libsel4py.errors import InvalidMessage, KernelError, ServiceError
from libsel4py.interface import on_lane, verify, with_timeout
from libsel4py.interfaces.file import Directory
from libsel4py.interfaces.names import Names
from libsel4py.interfaces.network import Network
from libsel4py.lending import LentPool, lend
from libsel4py.lowlevel.identify import identify
from libsel4py.mapping import Mapping
from libsel4py.request_ids import Lane
from libsel4py.task import Task
from tests.escape.attempt import Stopped
from tests.escape.other import Other, Told

Client = TypeVar("Client", bound=Interface)
SLOTS = 64
SECONDS = 2.0
BUFFER_BYTES = 1 << 14
REFUSED = (ServiceError, InvalidMessage, KernelError)


@dataclass(frozen=True, slots=True)
class Held:
    """A task that may use a part of what each server has, or one that may do all."""

    task: Task
    files: Directory
    names: Names

    def to(self, interface: type[Client], name: str) -> Client:
        """The client of a connection, which does not wait for ever."""
        return with_timeout(interface(Endpoint(self.task.environment.connections[name].cptr)), SECONDS)

    @property
    def other(self) -> Other:
        """Who has things at the same servers."""
        return self.to(Other, "other")

    def told(self) -> Told:
        """What is known of those things."""
        return self.other.told()

    @contextlib.contextmanager
    def canary(self) -> Iterator[DataSpace]:
        """The other's page, which may be read."""
        with DataSpace.receive(self.other.canary(), task=self.task) as space:
            yield space

    @contextlib.contextmanager
    def memory(self, size: int = BUFFER_BYTES) -> Iterator[tuple[DataSpace, Mapping]]:
        """Memory of one's own, and how it is seen."""
        with DataSpace.allocate(size, self.task) as space:
            yield space, space.attach()

    @contextlib.contextmanager
    def files_session(self, name: str = "littlefs") -> Iterator[Directory]:
        """A session with a file system."""
        with self.pool(17) as pool:
            yield with_timeout(Directory(self.to(Directory, name).session(pool.untyped)), SECONDS)

    @contextlib.contextmanager
    def network_session(self) -> Iterator[Network]:
        """A session with the network."""
        with self.pool(20) as pool:
            yield with_timeout(Network(self.to(Network, "network").session(pool.untyped)), SECONDS)

    def pool(self, bits: int) -> LentPool:
        """Memory to lend."""
        return lend(self.task, bits)

    def strange(self) -> list[int]:
        """Capabilities of each kind that the task has, none of which is plain memory: their addresses."""
        task = self.task
        own = [task.tcb, task.vspace, task.cnode, task.notification]
        return [capability.cptr for capability in own] + list(self.endpoints())

    def endpoints(self) -> Iterator[int]:
        """Every endpoint that the task has in its first slots, but that of the other one, which is no server."""
        other = self.task.environment.connections["other"].cptr
        for cptr in range(SLOTS):
            if cptr != other and identify(cptr).type == "ENDPOINT":
                yield cptr

    def ask(self, interface: type[Interface], method: str, *arguments: object) -> object:
        """The answer of whoever gives one, and says that this is what it answers.

        Raises:
            Stopped: nobody does.
        """
        for cptr in (*self.task.environment.authorities.values(), *self.endpoints()):
            client = with_timeout(interface(Endpoint(cptr)), SECONDS)
            with contextlib.suppress(*REFUSED):
                answer = getattr(client, method)(*arguments)
                verify(client)
                return answer
        raise Stopped("nobody answers")


def again(client: Client, lane: tuple[int, int]) -> Client:
    """The client whose next request says that it was sent before, with this lane's name and count."""
    name, count = lane
    return on_lane(client, Lane(name, count, unanswered=True))
