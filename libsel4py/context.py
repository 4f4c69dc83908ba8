"""What a component's code finds on ``self``, and who is calling it right now.

Rules: the caller is the calling thread's: it is set by the server loop around each method, and nowhere else.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, Never, Protocol, TypeVar, cast, overload

from libsel4py.keeper import Kept
from libsel4py.lowlevel.machine import Answer
from libsel4py.state import keeper_of
from libsel4py.task import Task, current_task

if TYPE_CHECKING:
    from libsel4py.interface import Interface
    from libsel4py.server import Server

Client = TypeVar("Client", bound="Interface")
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who called: the badge that the kernel delivered, the client's name, and what it called by name."""

    badge: int
    name: str
    provided: str = ""


class ReplyToken(Protocol):
    """A reply that is owed. Complete it once, from any thread of the task; the client waits until then."""

    @property
    def caller(self) -> Caller: ...

    def complete(self, value: object = None) -> None:
        """Answer with what the method would have returned."""

    def fail(self, error: Exception) -> None:
        """Answer with an exception, as if the method had raised it."""


class OwedReply(ReplyToken, Protocol):
    """What the runtime itself can do with a reply that is owed."""

    def relay(self, answer: Answer) -> None:
        """Answer with what another request of this method was answered, as it was packed."""

    def hand_over(self, heir: Any) -> bool:
        """Owe this reply to the caller of another one from now on, if it is not answered yet."""


class Serving(Protocol):
    """The server loop's state for the request that runs on this thread."""

    caller: Caller

    def defer(self) -> OwedReply: ...


class _PerThread(threading.local):
    serving: Serving | None = None
    listens_to: int = 0  # what it takes the channels of before it serves


per_thread: Final = _PerThread()


class _Deferred:
    def __repr__(self) -> str:
        return "DEFER"


#: What a method with a result returns after `Component.defer_reply`. (It has no type, so that it fits any result.)
DEFER: Final[Never] = cast(Never, _Deferred())


class Uses:
    """A component's connections by the local names of its system description: ``self.uses.console``.

    Args:
        clients: those that exist. names: those that ``make`` makes when they are asked for first.
    """

    def __init__(
        self,
        clients: dict[str, Interface],
        names: Collection[str] = (),
        make: Callable[[str], Interface] | None = None,
    ) -> None:
        self._clients = clients
        self._names = names
        self._make = make

    def __getattr__(self, name: str) -> Any:  # the interface is known at run time; `uses(Console)` gives a typed one
        if name.startswith("__"):
            raise AttributeError(name)
        found = self._clients.get(name)
        if found is None and self._make is not None and name in self._names:
            found = self._clients[name] = self._make(name)
        if found is None:
            raise AttributeError(
                f"this task has no connection {name!r}: its system description gives it {self._known()}. "
                f'Add {name} = "task.interface" to its `uses`'
            )
        return found

    def __contains__(self, name: object) -> bool:
        return name in self._clients or name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys((*self._clients, *self._names)))

    def _known(self) -> str:
        return ", ".join(sorted(self)) or "none"


class Component:
    """Base of what runs in a task. Interfaces have it already; a program without interface names it as its base.

    The runtime calls ``start()`` if there is one, then ``run()`` if there is one, else it serves what is provided.
    """

    _task: Task | None = None
    _uses: Uses | None = None
    _server: Server | None = None

    @property
    def server(self) -> Server:
        """What answers for this component: for who has clients that no description names. Raises RuntimeError: none."""
        if self._server is None:
            raise RuntimeError("nothing is served: the runtime makes the server before start()")
        return self._server

    @property
    def task(self) -> Task:
        """The task's own capabilities, slots and memory. Raises RuntimeError outside of the runtime."""
        return self._task or current_task()

    @property
    def uses(self) -> Uses:
        """Clients of what the system description connects this task to, by local name."""
        return self._uses or Uses({})

    @property
    def log(self) -> logging.Logger:
        """This task's log."""
        return logging.getLogger(self._task.name if self._task else type(self).__module__)

    @property
    def caller(self) -> Caller:
        """Who called the method that runs now on this thread. Raises RuntimeError outside of one."""
        serving = per_thread.serving
        if serving is None:
            raise RuntimeError("nobody is calling: caller is known only while a server method runs on this thread")
        return serving.caller

    def kept(self, kind: Callable[[], Value]) -> Kept[Value]:
        """A value of this type (a dict, a msgspec.Struct of defaults) that this task's next life finds as it was.

        What former lives had committed; ``kind()`` where there is nothing, or nothing that fits the type. Remembered
        methods commit it when they end, others say ``commit()``. It lasts as long as the process, if the description
        gives the task no ``state``.

        Raises:
            ValueError: it is called twice.
        """
        return keeper_of(self._task).keep(kind)

    def defer_reply(self) -> ReplyToken:
        """Keep the caller waiting and answer later: return `DEFER` (or nothing, if ``-> None``) afterwards.

        The server goes on with a fresh reply object, from the task's pool when the kept ones are all in use.

        Raises:
            RuntimeError: no method runs, or it has deferred already.
            TooManyDeferred: the server owes as many replies as it may. NotEnoughMemory, OutOfSlots: no reply object.
        """
        serving = per_thread.serving
        if serving is None:
            raise RuntimeError("nobody is calling: only a server method can defer its reply")
        return serving.defer()


class uses(Generic[Client]):
    """A typed connection in a class body: ``console = uses(Console)``; the local name is the attribute's."""

    def __init__(self, interface: type[Client], name: str | None = None) -> None:
        self._interface = interface
        self._name = name

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = self._name or name

    @overload
    def __get__(self, component: None, owner: type) -> uses[Client]: ...
    @overload
    def __get__(self, component: Component, owner: type) -> Client: ...
    def __get__(self, component: Component | None, owner: type) -> uses[Client] | Client:
        if component is None:
            return self
        client = getattr(component.uses, self._name or "")
        if not isinstance(client, self._interface):
            raise TypeError(
                f"connection {self._name!r} speaks {type(client).__name__}, and the component wants "
                f"{self._interface.__name__}: check the system description"
            )
        return client
