"""A client that means no good, of each server to which it is connected (or of ``only`` one): ``messages`` for each, by
``seed``.
Half of them make sense, as calls of the interface with values of any kind; the others are words, bytes and capabilities
at random, with labels of the interface and others. What the server hands out is attacked as well.

It ends with 0 if every message had an answer that the protocol knows and no server had an exception of its own (0x101,
UNDECLARED), but for those that it was told to expect.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, get_args, get_origin

import msgspec

from libsel4py import Component, Endpoint, Interface, component
from libsel4py.abi import Error
from libsel4py.capabilities import Capability, Notification, Untyped
from libsel4py.dataspace import DataSpace, SharedMemory
from libsel4py.errors import (
    InvalidMessage,
    KernelError,
    MessageTooLong,
    RemoteError,
    ServerDied,
    ServiceError,
    Timeout,
    UnknownMethod,
)
from libsel4py.interface import endpoint_of, with_timeout
from libsel4py.interfaces.activity import Activities, Activity, WeakActivity
from libsel4py.interfaces.data_space import DataSpaces, OpenData
from libsel4py.interfaces.file import Directory, File
from libsel4py.interfaces.memory_object import MemoryObject
from libsel4py.interfaces.namespace import Namespace
from libsel4py.interfaces.network import Accepted, Network, Socket
from libsel4py.lending import LentPool, lend
from libsel4py.lowlevel.syscalls import Message
from libsel4py.signature import Kind, Method, Value
from libsel4py.wire import CONTINUE, IDENTIFY, Outcome

EDGES: Final = (0, 1, 2, 3, 4, 6, 7, 80, 255, 4095, 65535, 65536, 1 << 20, (1 << 31) - 1, 1 << 31, 1 << 32, 1 << 62)
WIDE: Final = (*EDGES, 1 << 63, (1 << 64) - 1)
TEXTS: Final = (
    *(
        "",
        "/",
        "a",
        "a/b",
        "d",
        "d/e",
        "..",
        "../a",
        "/tmp",
        "/tmp/a",
        ".",
        "\0",
        "x" * 255,
        "y" * 300,
        "é" * 90,
        "f" * 700,
    ),
    *("memory", "files/a", "files/", "files/d/e", "timer"),
    *("127.0.0.1", "::1", "10.0.2.2", "0.0.0.0", "nobody", "resolve", "listen tcp *", "\x1b[31m", "{}"),
)
WAITING: Final = frozenset(
    (
        *("read_line", "wait_interrupt", "lookup", "ping", "accept", "connect", "receive", "receive_from", "send"),
        *("wait", "lock", "sleep", "sleep_until"),
    )
)
LINE: Final = frozenset(("read", "write_piece", "write"))  # of a serial line, at whose other end nobody is
SENT: Final = ("done", "refused", "given up")
WAIT_SECONDS: Final = 0.002
ANSWER_SECONDS: Final = 20.0
MADE: Final[dict[tuple[str, str], type[Interface]]] = {
    (Directory.interface_name, "session"): Directory,
    (Directory.interface_name, "narrow"): Directory,
    (Directory.interface_name, "open"): File,
    (Directory.interface_name, "file"): File,
    (Namespace.interface_name, "narrow"): Namespace,
    (Namespace.interface_name, "resolve"): Directory,
    (Network.interface_name, "session"): Network,
    (Network.interface_name, "narrow"): Network,
    (Network.interface_name, "hand_on"): Socket,
    (DataSpaces.interface_name, "open"): OpenData,
    (OpenData.interface_name, "memory"): MemoryObject,
    (Activities.interface_name, "open"): Activity,
    (Activity.interface_name, "child"): Activity,
    (Activity.interface_name, "weak"): WeakActivity,
}
DEEPER: Final = (
    "memory",
    "child",
    "session",
    "attach",
    "open",
    "open_number",
    "socket",
    "hand_on",
    "narrow",
    "listen",
    "bind",
)
ENDS: Final = (
    "close_all",
    "terminate",
    "destroy",
    "close",
    "close_number",
    "close_socket",
    "detach",
    "unwatch",
    "unmount",
)
FIT: Final = 0.6
# Methods whose result is a number by which others are called, and what those call it.
NUMBERED: Final = frozenset(("open_number", "socket", "accept", "attach", "watch"))
HANDLES: Final = frozenset(("file", "socket", "buffer", "watch"))
PATHS: Final = ("a", "d", "d/e", "a/b", "")
# Values that get past the first checks of a method, by its name (any, where that is empty) and its parameter's.
FITTING: Final[dict[tuple[str, str], tuple[object, ...]]] = {
    ("", "path"): PATHS,
    ("rename", "old"): PATHS,
    ("rename", "new"): PATHS,
    ("", "flags"): (1, 3, 7, 7, 7, 15, 23, 39),
    ("", "rights"): (1, 3),
    ("", "offset"): (0, 0, 512, 4096),
    ("", "length"): (0, 1, 100, 4096),
    ("", "size"): (0, 1, 100, 5000),
    ("", "at"): (0, 0, 512),
    ("", "sector"): (0, 1, 8, 1000),
    ("", "count"): (1, 8),
    ("", "kind"): (1, 2),
    ("", "version"): (4, 6),
    ("", "host"): ("127.0.0.1", "::1", "10.0.2.15", ""),
    ("", "port"): (0, 80, 7, 5000, 5001),
    ("", "backlog"): (1, 8),
    ("", "events"): (1, 2, 3),
    ("", "how"): (1, 2, 3),
    ("", "rules"): (["connect tcp *"], ["listen tcp *", "resolve"]),
}
OPENING: Final = frozenset(("session", "open", "file", "hand_on", "child", "resolve"))
MOST_TARGETS, MOST_POOLS = 12, 6
POOL_BITS, SPACE_BYTES = 17, 1 << 14


@dataclass(frozen=True)
class Target:
    """A capability, and what is spoken there."""

    client: Interface

    is_open: bool = False  # more is to be had there than by what it was opened with
    known: deque[int] = field(default_factory=lambda: deque(maxlen=8))  # numbers that came from there: its handles

    @property
    def endpoint(self) -> Endpoint:
        return endpoint_of(self.client)


@component
class Main(Component):
    def run(self) -> int:
        configuration = self.task.environment.configuration
        seed, count = int(str(configuration["seed"])), int(str(configuration["messages"]))
        status = 0
        report: list[str] = []
        only = str(configuration["only"])
        for name, connection in sorted(self.task.environment.connections.items()):
            if only not in ("", name):
                continue
            attack = Attack(self, getattr(self.uses, name), random.Random(f"{seed} {name}"))
            attack.run(count)
            said = ", ".join(f"{what} {number}" for what, number in sorted(attack.answers.items()))
            report.append(f"@{name} ({connection.interface}): {said}; {dict(attack.made)}")
            for text in attack.wrong:
                self.log.error("%s: %s", name, text)
                status = 1
        for line in report:
            self.uses.console.write(f"\n{line}\n")
        return status


class Attack:
    """Of one server."""

    def __init__(self, main: Main, client: Interface, chance: random.Random) -> None:
        self.task = main.task
        self.chance = chance
        self.first = Target(client)
        self.targets = deque([self.first])
        self.pools: deque[LentPool] = deque()
        self.space = DataSpace.allocate(SPACE_BYTES)
        self.given: list[Callable[[], None]] = []
        self.answers: Counter[str] = Counter()
        self.made: Counter[str] = Counter()
        self.wrong: list[str] = []

    def run(self, count: int) -> None:
        for number in itertools.count(1):
            if sum(self.answers[what] for what in SENT) >= count:
                break
            if number % 500 == 0:  # its memory goes, and with it what a server has of it
                self.space.close()
                self.space = DataSpace.allocate(SPACE_BYTES)
            target = self.choose()
            (self.sense if self.chance.random() < 0.5 else self.nonsense)(target)
            for take_back in self.given:
                take_back()
            self.given.clear()
            self.task.receive.discard()
            if len(self.wrong) > 5:
                break
        self.ensure_answers()
        while len(self.targets) > 1:
            self.forget(self.targets.pop())
        while self.pools:
            self.pools.popleft().free()
        self.space.close()

    def choose(self) -> Target:
        """Mostly what is open: who attacks the others alone is refused before a method has begun."""
        chance = self.chance.random()
        if chance < 0.2:
            return self.first
        opened = [each for each in self.targets if each.is_open]
        return self.chance.choice(opened) if opened and chance < 0.8 else self.chance.choice(self.targets)

    def ensure_answers(self) -> None:
        answer = self.first.endpoint.call(Message(IDENTIFY), timeout=ANSWER_SECONDS)
        if answer.label != Outcome.OK:
            self.wrong.append(f"it does not identify itself any more: {answer}")

    # --- what makes sense ------------------------------------------------------------------------------------

    def sense(self, target: Target) -> None:
        interface = type(target.client)
        methods = interface.interface_methods
        deeper = [name for name in DEEPER if name in methods]
        if target.is_open and not target.known:  # a handle first, without which most of the others are refused
            deeper = [name for name in deeper if name in NUMBERED] or deeper
        name = self.chance.choice(deeper if deeper and self.chance.random() < 0.25 else list(methods))
        if name in ENDS and self.chance.random() < 0.9:  # what is over soon is not attacked for long
            return
        method = methods[name]
        client = with_timeout(target.client, self.seconds(method.name))
        arguments = [self.value(each, target, method.name) for each in method.parameters]
        try:
            result = getattr(client, method.name)(*arguments)
        except (ServiceError, InvalidMessage, KernelError, UnknownMethod) as error:
            self.answers["refused"] += 1
            if type(error).__name__.startswith("Stale") and not method.parameters and target is not self.first:
                self.targets.remove(target)  # it is over, whatever it is asked
                self.forget(target)
        except (MessageTooLong, ValueError, TypeError):  # of the stub's own
            self.answers["not sent"] += 1
        except Timeout:
            self.timed_out(method.name, f"{method.full_name}{tuple(arguments)}")
        except RemoteError as error:
            self.wrong.append(f"{method.full_name}{tuple(arguments)}: {error}")
        except ServerDied:
            self.wrong.append(f"{method.full_name}{tuple(arguments)}: the server died")
        else:
            self.answers["done"] += 1
            self.made[method.name] += 1
            self.keep(target, method, result)

    def keep(self, target: Target, method: Method, result: object) -> None:
        """What came is attacked from now on, or let go."""
        parts = result if isinstance(result, tuple) else (result,)
        if method.name in NUMBERED:
            number = parts[0].socket if isinstance(parts[0], Accepted) else parts[0]
            if isinstance(number, int):
                target.known.append(number)
        for part in parts:
            made = MADE.get((method.interface, method.name))
            if isinstance(part, Endpoint) and made is not None:
                self.targets.append(Target(made(part), method.name in OPENING))
                if len(self.targets) > MOST_TARGETS:
                    self.targets.remove(old := self.targets[1])
                    self.forget(old)
            elif isinstance(part, Capability):
                self.task.delete(part)

    def forget(self, target: Target) -> None:
        self.task.delete(target.endpoint)

    def value(self, parameter: Value, target: Target, method: str) -> object:
        chance = self.chance
        if chance.random() < FIT:  # what the method's first checks let pass
            if parameter.name in HANDLES and target.known:
                return chance.choice(target.known)
            if (fitting := FITTING.get((method, parameter.name)) or FITTING.get(("", parameter.name))) is not None:
                return chance.choice(fitting)
        if parameter.kind is Kind.CAPABILITY:
            return self.capability(parameter.capability)
        if parameter.kind is Kind.BOOL:
            return chance.random() < 0.5
        if parameter.kind in (Kind.WORD, Kind.SIGNED):
            high = 64 if parameter.kind is Kind.WORD else 63
            return chance.choice(
                (chance.randrange(8), chance.randrange(8), chance.choice(EDGES), chance.getrandbits(high))
            )
        return self.packed(parameter.annotation)

    def packed(self, kind: object) -> object:
        """A value of an annotation, by chance."""
        chance = self.chance
        if kind is str:
            return chance.choice(TEXTS)
        if kind is bytes:
            return chance.randbytes(chance.choice((0, 1, 100, 700)))
        if kind is int:
            return chance.choice((chance.choice(EDGES), chance.randrange(40)))
        if kind is bool:
            return chance.random() < 0.5
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            return kind(*(self.field(each.name, each.type) for each in msgspec.structs.fields(kind)))
        if get_origin(kind) is list:
            return [self.packed(get_args(kind)[0]) for _ in range(chance.randrange(4))]
        return [chance.choice(TEXTS) for _ in range(chance.randrange(4))]

    def field(self, name: str, kind: object) -> object:
        fitting = FITTING.get(("", name))
        if fitting is not None and self.chance.random() < FIT:
            return self.chance.choice(fitting)
        return self.packed(kind)

    def capability(self, kind: type[Capability] | None) -> Capability:
        chance = self.chance
        if chance.random() < 0.1:
            return chance.choice([self.task.vspace, self.task.cnode, self.first.endpoint, self.task.notification])
        if kind is Untyped:
            if len(self.pools) < MOST_POOLS:
                self.pools.append(lend(self.task, POOL_BITS))
            elif chance.random() < 0.03:  # and all that was made of it is gone
                self.pools.rotate(-1)
                self.pools[-1].take_back()
            return chance.choice(self.pools).untyped
        if kind is Notification:
            return self.task.notification
        if kind is SharedMemory:
            shared = self.space.share()
            self.given.append(lambda: self.space.drop(shared))
            return shared
        return chance.choice(self.targets).endpoint

    # --- what does not ---------------------------------------------------------------------------------------

    def nonsense(self, target: Target) -> None:
        chance = self.chance
        methods = {
            each.label: name
            for name, each in type(target.client).interface_methods.items()
            if name not in ENDS or chance.random() < 0.1
        }
        label = chance.choice([*methods, IDENTIFY, CONTINUE, 77, 1 << 51])
        match chance.randrange(3):
            case 0:
                words = tuple(chance.choice(WIDE) for _ in range(chance.randrange(6)))
            case 1:
                words = tuple(chance.getrandbits(chance.choice((1, 8, 20, 64))) for _ in range(chance.randrange(121)))
            case _:
                words = self.bytes_of([self.anything(2) for _ in range(chance.randrange(6))])
        caps: tuple[int, ...] = ()
        if chance.random() < 0.3:
            caps = tuple(self.capability(chance.choice((Untyped, SharedMemory, Endpoint))).cptr for _ in range(1))
        name = methods.get(label, "")
        try:
            answer = target.endpoint.call(Message(label, words, caps), timeout=self.seconds(name))
        except Timeout:
            self.timed_out(name, f"label {label}, words {words}")
            return
        except ServerDied:
            self.wrong.append(f"the server died of label {label} ({name}), words {words}")
            return
        if answer.label in (Outcome.OK, Outcome.PARTIAL):
            self.answers["done"] += 1
        elif answer.label == Outcome.UNDECLARED:
            data = b"".join(word.to_bytes(8, "little") for word in answer.words[1:])[: answer.words[0]]
            self.wrong.append(f"label {label} ({name}), words {words}: {data!r}")
        elif answer.label in set(Outcome) | set(Error):
            self.answers["refused"] += 1
        else:
            self.wrong.append(f"label {label} ({name}): an answer {answer.label} that nobody knows")
        if answer.label == Outcome.SERVER_DIED:
            self.wrong.append(f"the server died of label {label} ({name}), words {words}")

    def anything(self, depth: int) -> object:
        """A value of msgpack's."""
        chance = self.chance
        match chance.randrange(8 if depth else 6):
            case 0:
                return chance.choice(TEXTS)
            case 1:
                return chance.choice(WIDE)
            case 2:
                return -chance.choice(EDGES)
            case 3:
                return chance.choice((None, True, False, 1.5, float("nan")))
            case 4:
                return chance.randbytes(chance.randrange(60))
            case 5:
                return chance.randrange(10)
            case 6:
                return [self.anything(depth - 1) for _ in range(chance.randrange(5))]
            case _:
                return {chance.choice(TEXTS): self.anything(depth - 1)}

    def bytes_of(self, value: object) -> tuple[int, ...]:
        data = bytearray(msgspec.msgpack.encode(value)[:900])
        if data and self.chance.random() < 0.3:
            data[self.chance.randrange(len(data))] = self.chance.randrange(256)
        words = tuple(int.from_bytes(data[at : at + 8], "little") for at in range(0, len(data), 8))
        return (len(data) if self.chance.random() < 0.9 else self.chance.choice(WIDE), *words)

    # --- how long --------------------------------------------------------------------------------------------

    def waits(self, name: str) -> bool:
        return name in WAITING or (name in LINE and "Serial" in self.first.client.interface_name)

    def seconds(self, name: str) -> float:
        return WAIT_SECONDS if self.waits(name) else ANSWER_SECONDS

    def timed_out(self, name: str, what: str) -> None:
        self.answers["given up"] += 1
        if not self.waits(name):
            self.wrong.append(f"no answer to {what}")
