"""What a person's session at the shell consists of: the shell's connections, and what it remembers."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, field
from io import BufferedReader
from typing import IO, Any, Final

from apps.shell.call import BadArguments
from apps.shell.streams import Output, PipeFull, ToConsole, Typed
from libsel4py import ServiceError, Timeout
from libsel4py.context import Uses
from libsel4py.environment import ChannelUse
from libsel4py.files import Files, Path
from libsel4py.interface import Interface, find_interface, with_timeout
from libsel4py.interfaces.console import Console
from libsel4py.interfaces.names import Names
from libsel4py.interfaces.namespace import Namespace
from libsel4py.interfaces.system import System
from libsel4py.sockets import Net
from libsel4py.task import current_task

# A script types no Ctrl-C: a server that has ended for good would keep the shell for ever.
ANSWER_SECONDS: Final = 10.0
FILES, NETWORK = "files", "network"  # connections
NET_POOL_BITS: Final = 18


class CommandError(Exception):
    """What was asked cannot be done; the text says what would work."""


class Exit(Exception):
    """The person wants to leave, with this status."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


@dataclass(slots=True)
class Place:
    """Where paths begin that do not begin with a slash."""

    folder: str = "/"


@dataclass(frozen=True, slots=True)
class Session:
    """What a command works with.

    Attributes:
        name: this task's. connections: all that the shell was given, by name. history: the lines typed so far.
        services: what was looked up, by name. input: what a pipe or ``<`` brings; None if there is neither.
        output: where `write` and `send` go. target: the file that this is, or empty.
        opened: what was made of connections, by name. place: the current directory.
    """

    console: Console
    names: Names
    system: System
    name: str
    output: Output
    input: IO[bytes] | None = None
    connections: Uses = field(default_factory=lambda: Uses({}))
    history: list[str] = field(default_factory=list)
    services: dict[str, Interface] = field(default_factory=dict)
    opened: dict[str, object] = field(default_factory=dict)
    target: str = ""
    place: Place = field(default_factory=Place)

    @classmethod
    def begin(cls, console: Console, names: Names, system: System, name: str, connections: Uses) -> Session:
        """A session whose output goes to the console."""
        return cls(console, names, system, name, ToConsole(console), None, connections)

    def write(self, text: str) -> None:
        """Put out text."""
        self.output.write(text.encode())

    def send(self, data: bytes) -> None:
        """Put out bytes."""
        self.output.write(data)

    def tell(self, text: str) -> None:
        """Show text to the person, wherever the output goes."""
        ToConsole(self.console).write(text.encode())

    def read(self) -> IO[bytes]:
        """The input; what the person types, up to Ctrl-D, where neither a pipe nor a file is given."""
        return self.input or BufferedReader(Typed(self.console))

    @property
    def files(self) -> Files:
        """The files that the shell was given. Raises CommandError: it was given none."""
        found = self.opened.get(FILES)
        if found is None:
            found = self.opened[FILES] = Files(self._connection(FILES, "files", "a namespace or a file system"))
        assert isinstance(found, Files)
        return found

    def path(self, text: str) -> Path:
        """What a person calls so: from the current directory on, ``..`` is the directory above. Raises as `files`."""
        if self.place.folder != "/" or ".." in text.split("/"):
            text = posixpath.normpath(posixpath.join("/", self.place.folder, text))
        return self.files.path(text)

    def is_same(self, one: str, other: str) -> bool:
        """Whether two paths are one."""
        return absolute(self.path(one)) == absolute(self.path(other))

    @property
    def net(self) -> Net:
        """Sockets, by the shell's rules. Raises CommandError: it was given no network."""
        found = self.opened.get(NETWORK)
        if found is None:
            network = self._connection(NETWORK, "network", "a network server")
            found = self.opened[NETWORK] = Net(network, pool_bits=NET_POOL_BITS)
        assert isinstance(found, Net)
        return found

    def mounts(self) -> list[str]:
        """Where there are file systems. Raises CommandError as `files`."""
        source = self._connection(FILES, "files", "a namespace or a file system")
        return [each.path for each in source.mounts()] if isinstance(source, Namespace) else ["/"]

    def _connection(self, name: str, what: str, to: str) -> Any:  # of whatever interface the description says
        try:
            return getattr(self.connections, name)
        except AttributeError:
            raise CommandError(f"this shell was given no {what}: connect it to {to} as {name}") from None

    def keep(self, line: str) -> None:
        """Remember a line, unless it is empty."""
        if line.strip():
            self.history.append(line)

    def service(self, name: str) -> Interface:
        """A client of a service by its name, with `ANSWER_SECONDS` for each call. Raises UnknownName, LookupError."""
        if name not in self.services:
            interface, endpoint = self.names.lookup(name)
            # It is kept for the session, and so may go by a channel as a connection may.
            current_task().channels.offer(endpoint, ChannelUse.AUTO)
            self.services[name] = with_timeout(find_interface(interface)(endpoint), ANSWER_SECONDS)
        return self.services[name]


def absolute(path: Path) -> str:
    """A path of the session's, with a slash at its beginning and none at its end, but for the root's."""
    return "/" + str(path).strip("/")


def describe(error: Exception) -> str:
    """A failed command's error, for a person."""
    if isinstance(error, Timeout):
        return f"no answer within {ANSWER_SECONDS:.0f} s; ps shows whether the server runs, why TASK what it waits for"
    explanation = getattr(error, "explanation", "")
    name = (
        "" if isinstance(error, BadArguments | CommandError | PipeFull | ServiceError) else f"{type(error).__name__}: "
    )
    return f"{name}{error}" + (f"\n  {explanation}" if explanation and explanation not in str(error) else "")
