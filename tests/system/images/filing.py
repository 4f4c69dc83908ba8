"""Clients of a file system, by the scene that their description names; end with 0 if all went as it should."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from contextlib import suppress

from libsel4py import Component, Endpoint, Interface, component, uses
from libsel4py.capabilities import Untyped
from libsel4py.dataspace import SharedMemory
from libsel4py.errors import (
    IllegalOperation,
    InvalidCapability,
    InvalidMessage,
    KernelError,
    RemoteError,
    ServerDied,
    ServiceError,
)
from libsel4py.files import Files
from libsel4py.interface import endpoint_of
from libsel4py.interfaces.file import (
    Access,
    Directory,
    File,
    NoSuchFile,
    NotPermitted,
    OpenFlags,
    TooManyOpen,
)
from libsel4py.interfaces.system import System
from libsel4py.lending import lend
from libsel4py.lowlevel.syscalls import Message
from libsel4py.testing.file_system import FILE_SYSTEM_CHECKS, NEEDS_RESTART, Subject, check_file_system
from tests.system.images.failing import failing_with
from tests.system.images.handing import Handing

READ = OpenFlags.READ
KILLS = 6
NEW = OpenFlags.READ | OpenFlags.WRITE | OpenFlags.CREATE


@component
class Main(Component):
    disk = uses(Directory)

    def run(self) -> int:
        getattr(self, str(self.task.environment.configuration["scene"]))()
        return 0

    def conforms(self) -> None:
        """The whole suite, as one task against another."""
        before = self.task.memory.statistics().free_bytes
        run = check_file_system(Subject(self.disk, self.task))
        assert len(run) >= 80, run
        assert set(run) <= set(FILE_SYSTEM_CHECKS)
        self.task.channels.forget(endpoint_of(self.disk).cptr)
        assert self.task.memory.statistics().free_bytes == before

    def survives(self) -> None:
        """The server is killed and comes back: its files were in its memory, and names and sessions go on."""
        system: System = self.uses.system
        check_file_system(Subject(self.disk, self.task, restart=lambda: system.kill("disk")), *NEEDS_RESTART)
        with Files(self.disk) as files:
            file = files.open_raw("f", "wb")
            file.write(b"lost with the server")
            system.kill("disk")
            for what in (lambda: file.write(b"x"), file.sync, lambda: files.stat("f")):
                with failing_with(OSError, match=r"Stale|No such file"):
                    what()
            files.path("f").write_text("there again")
            assert files.path("f").read_text() == "there again"
            with failing_with(OSError, match="Stale"):
                file.write(b"x")

    def goes_on(self) -> None:
        """Write and read a file while its server, and the driver below it, are killed again and again."""
        system: System = self.uses.system
        check_file_system(Subject(self.disk, self.task, restart=lambda: system.kill("disk")), *NEEDS_RESTART)
        chance = random.Random(7)
        model = bytearray()
        with Files(self.disk) as files, files.open_raw("log", "ab") as log, files.open_raw("f", "w+b") as file:
            log.lock()
            for number in range(KILLS):
                offset, data = chance.randrange(200_000), chance.randbytes(chance.randrange(1, 100_000))
                model.extend(bytes(max(0, offset + len(data) - len(model))))
                model[offset : offset + len(data)] = data
                file.seek(offset)
                file.write(data)
                log.write(b"%d\n" % number)
                if number % 3 == 0:
                    file.sync()
                system.kill("block" if number % 2 else "disk")
                if number % 4 == 3:
                    file.seek(0)
                    assert file.readall() == bytes(model), number
            with Files(self.disk) as others:
                assert not others.open_raw("log", "ab").try_lock()
        with Files(self.disk) as files:
            assert files.path("f").read_bytes() == bytes(model)
            assert files.path("log").read_bytes() == b"".join(b"%d\n" % number for number in range(KILLS))

    def holds(self) -> None:
        """Hold a lock and have a removed file open, and wait to be killed."""
        with Files(self.disk) as files:
            file = files.open_raw("lock", "ab")
            file.lock()
            files.path("big").write_bytes(bytes(5 << 20))
            big = files.open_raw("big")
            files.remove("big")
            files.mkdir("held")
            with files.watch("held") as watcher:
                watcher.wait()
            big.close()

    def outlives(self) -> None:
        """The holder of a lock is killed while this one waits for it: then it has it, and the room of its files."""
        system: System = self.uses.system
        with Files(self.disk) as files:
            with files.watch() as watcher:
                while not files.exists("held"):
                    watcher.wait(60.0)
            with files.open_raw("lock", "ab") as file:
                assert not file.try_lock()
                with failing_with(OSError, match="No space"):
                    files.path("mine").write_bytes(bytes(5 << 20))
                system.kill("holder")
                file.lock(timeout=30.0)
                files.path("mine").write_bytes(bytes(5 << 20))
                assert files.stat("mine").size == 5 << 20

    def exhausts(self) -> None:
        """Open without end, in every way; the other client, which runs beside, must not notice."""
        with lend(self.task, 15) as pool:
            session = Directory(self.disk.session(pool.untyped))
            numbers = [session.open_number("f", NEW)[0]]
            until_refused(lambda: numbers.append(session.open_number("f", READ)[0]))
            until_refused(lambda: self.task.delete(session.open("f", READ)[1]))
            for number in numbers[:20]:
                session.close_number(number)
            until_refused(lambda: self.task.delete(session.open("f", READ)[1]))
        pools = []

        def begin() -> None:
            pools.append(lend(self.task, 13))
            self.task.delete(self.disk.session(pools[-1].untyped))

        until_refused(begin)
        for pool in pools:
            pool.free()
        with Files(self.disk) as files:
            files.mkdir("over")

    def reads_on(self) -> None:
        """Read the same file again and again, while the other one does what it likes."""
        with Files(self.disk) as files:
            files.path("mine").write_bytes(b"m" * 10_000)
            while not files.exists("over"):
                assert files.path("mine").read_bytes() == b"m" * 10_000

    def attacks(self) -> None:
        """With a read-only subtree: nothing is written, nothing outside is read, and the server goes on."""
        handing: Handing = self.uses.handing
        messages = int(str(self.task.environment.configuration["messages"]))
        Attack(self, Directory(handing.give()), random.Random(5)).run(messages)
        assert handing.differences() == []


def _label(interface: type[Interface], name: str) -> int:
    return interface.interface_methods[name].label


def until_refused(act: Callable[[], object]) -> None:
    """Do it until it is refused with TooManyOpen."""
    for _ in range(5_000):
        try:
            act()
        except TooManyOpen:
            return
    raise AssertionError("it was never refused")


class Attack:
    """What a hostile client can send."""

    def __init__(self, main: Main, disk: Directory, chance: random.Random) -> None:
        self.task = main.task
        self.disk = disk
        self.chance = chance

    def run(self, messages: int) -> None:
        self.badges()
        self.paths()
        self.messages(messages)
        self.capabilities()
        assert self.disk.stat("page").size == 5
        with Files(self.disk) as files:
            assert files.path("page").read_text() == "hello"
            with failing_with(PermissionError):
                files.path("page").write_text("gone")
            with failing_with(PermissionError):
                files.remove("page")

    def badges(self) -> None:
        """A capability that has a badge gives none with another one, and nobody can receive by it."""
        slot, endpoint = self.task.slots.allocate(), endpoint_of(self.disk)
        for badge in (0, 1, 2, 1 << 40, 1 << 63):
            with failing_with(IllegalOperation):
                self.task.cnode.mint(slot, self.task.cnode, endpoint.cptr, badge)
        self.task.slots.free(slot)
        with failing_with(InvalidCapability):
            endpoint.listen()

    def paths(self) -> None:
        names = ["..", ".", "", "secret", "pub", "page", "x" * 255, "x" * 5000, "\0", "/", "é" * 200, "..\\", "%2e%2e"]
        for _ in range(1_000):
            path = "/".join(self.chance.choices(names, k=self.chance.randint(1, 6)))
            for act in (
                lambda path=path: self.disk.stat(path),
                lambda path=path: self.disk.list(path),
                lambda path=path: self.disk.remove(path),
                lambda path=path: self.disk.rename("page", path),
                lambda path=path: self.disk.make_directory(path),
                lambda path=path: self.disk.narrow(path, Access.ALL),
            ):
                self.harmless(act)
        with failing_with((NoSuchFile, ServiceError)):
            self.disk.stat("../secret")

    def harmless(self, act: object) -> None:
        """Whatever it gives, it is no more than the page, and no other error than a declared one."""
        assert callable(act)
        try:
            found = act()
        except (ServiceError, ValueError):
            return
        if isinstance(found, Endpoint):
            with failing_with(NotPermitted):
                Directory(found).make_directory("x")
            self.task.delete(found)
        elif isinstance(found, list):
            assert [entry.name for entry in found] == ["page"], found

    def messages(self, count: int) -> None:
        """So many of random words and bytes, at the directory, at a session and at a file."""
        with lend(self.task, 14) as pool:
            session = self.disk.session(pool.untyped)
            file = Directory(session).open("page", READ)[1]
            targets = [endpoint_of(self.disk), session, file]
            ends = {(session, _label(Directory, name)) for name in ("close", "close_number")}
            ends.add((file, _label(File, "close")))
            for number in range(count):
                target = self.chance.choice(targets)
                label = self.chance.choice([0, (1 << 52) - 1, *range(1, 30), self.chance.getrandbits(51)])
                words = [self.word() for _ in range(self.chance.choice([0, 1, 2, 3, 4, 9, 119]))]
                if number % 3 == 0 and words:
                    data = self.chance.randbytes(8 * (len(words) - 1))
                    words = [len(data), *struct.unpack(f"<{len(words) - 1}Q", data)]
                if (target, label) not in ends:
                    target.call(Message(label, tuple(words)))
            assert Directory(session).stat("page").size == File(file).size() == 5
            for endpoint in (session, file):
                self.task.delete(endpoint)

    def word(self) -> int:
        some = [self.chance.getrandbits(64), self.chance.getrandbits(8)]
        return self.chance.choice([0, 1, 2, 3, 1 << 63, (1 << 64) - 1, *some])

    def capabilities(self) -> None:
        """What is no pool, no memory, no notification; and what is, where none belongs."""
        own = [self.task.tcb, self.task.cnode, self.task.vspace, self.task.notification, endpoint_of(self.disk)]
        with lend(self.task, 14) as pool:
            session = Directory(self.disk.session(pool.untyped))
            for each in own:
                for act in (
                    lambda each=each: self.disk.session(Untyped(each.cptr)),
                    lambda each=each: session.attach(SharedMemory(each.cptr)),
                ):
                    with suppress(ServiceError, KernelError, RemoteError, ServerDied, InvalidMessage):
                        act()
                        raise AssertionError(f"{each} was taken")
            self.task.delete(endpoint_of(session))
