"""A client of a namespace that writes, syncs and reads while all that it stands on is killed in turn."""

from __future__ import annotations

import errno
import random
from concurrent.futures import Future

from libsel4py import Component, aio, component, uses
from libsel4py.files import Files, RawFile
from libsel4py.interface import endpoint_of
from libsel4py.interfaces.file import Directory
from libsel4py.interfaces.namespace import Namespace
from libsel4py.interfaces.system import System

VICTIMS = ("littlefs", "block", "vfs", "ramfs")
BYTES = 200_000
SECONDS = 60.0
GONE = {errno.ENOENT, errno.ESTALE}  # what is said of a file in memory whose server has died


@component
class Main(Component):
    """Setting ``kills``: how many in all."""

    files = uses(Namespace)
    ram = uses(Directory)

    def run(self) -> int:
        kills = int(self.task.environment.configuration["kills"])  # type: ignore[arg-type]  # a number
        self.files.mount("/mine", endpoint_of(self.ram))
        storm = Storm(self.files, random.Random(11))
        with Files(self.files) as files, files.open_raw("f", "w+b") as file, files.open_raw("log", "ab") as log:
            log.lock()
            for number in range(kills):
                victim = VICTIMS[number % len(VICTIMS)]
                killed = kill(self.uses.system, victim)
                while True:  # once more after it has come, so that each next life is written to
                    was_over = killed.done()
                    storm.writes(file)
                    storm.in_memory(files, "/tmp/memory" if number % 2 else "/mine/memory")
                    if was_over:
                        break
                killed.result(SECONDS)
                log.write(b"%d\n" % number)
                if number % 3:
                    storm.syncs(file)
                if victim == "vfs":
                    assert "/mine" in [each.path for each in self.files.mounts()]
            with Files(self.files) as others:
                assert not others.open_raw("log", "ab").try_lock()
            storm.syncs(file)
        with Files(self.files) as files:
            assert files.path("log").read_bytes() == b"".join(b"%d\n" % number for number in range(kills))
        self.log.info("%d kills, %d writes, %d syncs, %d losses in memory", kills, *storm.counts())
        return 0


def kill(system: System, victim: str) -> Future[None]:
    """Have a task killed by another thread, at whatever this one is about then."""
    done: Future[None] = Future()

    def act() -> None:
        try:
            system.kill(victim)
        except BaseException as error:
            done.set_exception(error)
        else:
            done.set_result(None)

    aio.workers.submit(act)
    return done


class Storm:
    """What is written, and what must be there."""

    def __init__(self, space: Namespace, chance: random.Random) -> None:
        self._space = space
        self._chance = chance
        self._model = bytearray()
        self._writes = self._syncs = self._losses = 0

    def counts(self) -> tuple[int, int, int]:
        return self._writes, self._syncs, self._losses

    def writes(self, file: RawFile) -> None:
        """Some bytes anywhere, which this client must see at once."""
        chance, model = self._chance, self._model
        offset, data = chance.randrange(BYTES), chance.randbytes(chance.randrange(1, 20_000))
        model.extend(bytes(max(0, offset + len(data) - len(model))))
        model[offset : offset + len(data)] = data
        file.seek(offset)
        assert file.write(data) == len(data)
        first = chance.randrange(len(model))
        file.seek(first)
        wanted = bytes(model[first : first + 30_000])
        assert file.read(len(wanted)) == wanted, f"other bytes at {first}"
        self._writes += 1

    def syncs(self, file: RawFile) -> None:
        """What was synced another one reads, who has written nothing of it."""
        file.sync()
        with Files(self._space) as others:
            assert others.path("f").read_bytes() == bytes(self._model), "synced bytes are not there"
        self._syncs += 1

    def in_memory(self, files: Files, path: str) -> None:
        """A file in memory has the bytes that were written, or is gone with its server."""
        data = self._chance.randbytes(5_000)
        try:
            files.path(path).write_bytes(data)
            assert files.path(path).read_bytes() == data, "other bytes in memory"
        except OSError as error:
            if error.errno not in GONE:
                raise
            self._losses += 1
