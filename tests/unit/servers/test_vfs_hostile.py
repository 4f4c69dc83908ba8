"""A client of the namespace that sends whatever it likes: clean errors, and nothing lost for the others."""

from __future__ import annotations

import random
from typing import Final

import pytest

from libsel4py.errors import InvalidMessage
from libsel4py.interface import endpoint_of
from libsel4py.interfaces.file import Access, FileError
from libsel4py.interfaces.namespace import Namespace
from libsel4py.lowlevel.syscalls import Message
from libsel4py.signature import Word
from libsel4py.testing import connect
from libsel4py.wire import CONTINUE, IDENTIFY, Outcome
from servers.ramfs.main import Main as RamFs
from tests.unit.servers.test_vfs import mounted, opened

ROUNDS: Final = 3000
PATHS: Final = (
    "",
    "/",
    "/tmp",
    "/tmp/",
    "//",
    "/..",
    "/tmp/../x",
    "/tmp/deep/a",
    "a\0b",
    "x" * 800,
    "/" + "y" * 300,
    "é",
)


def test_calls_with_any_arguments_end_in_clean_errors() -> None:
    chooser = random.Random(5)
    with mounted(clients={"test": "rw /tmp"}) as space, connect(RamFs) as mine:
        refused = 0
        for _ in range(ROUNDS):
            path = chooser.choice(PATHS)
            try:
                match chooser.randrange(5):
                    case 0:
                        space.resolve(path)
                    case 1:
                        space.mounts()
                    case 2:
                        space.mount(path, endpoint_of(mine))
                    case 3:
                        space.unmount(path)
                    case 4:
                        space.narrow(path, Word(chooser.choice((0, 1, 2, 3, 7, 2**64 - 1))))
            except (FileError, InvalidMessage):
                refused += 1
        assert 0 < refused < ROUNDS
        for each in space.mounts():
            if each.path not in ("/", "/deep"):
                space.unmount(each.path)
        with opened(space) as files:
            assert files.path("/name").read_text() == "ram"
            assert files.path("/deep/name").read_text() == "third"


def test_random_messages_end_in_answers() -> None:
    chooser = random.Random(7)
    with mounted() as space:
        labels = [*(each.label for each in Namespace.interface_methods.values()), IDENTIFY, CONTINUE, 77, 1 << 51]
        target = endpoint_of(space)
        for _ in range(ROUNDS):
            words = tuple(chooser.getrandbits(chooser.choice((1, 8, 20, 64))) for _ in range(chooser.randrange(30)))
            answer = target.call(Message(chooser.choice(labels), words))
            assert answer.label in set(Outcome)
        with opened(space) as files:
            assert files.path("/tmp/name").read_text() == "ram"


def narrow_all(space: Namespace) -> None:
    for number in range(400):
        space.narrow(f"/d{number}", Word(int(Access.READ)))


def test_a_client_cannot_have_parts_without_end() -> None:
    with mounted() as space, opened(space) as files:
        for number in range(400):
            files.mkdir(f"/d{number}")
        with pytest.raises(FileError, match="no more are kept"):
            narrow_all(space)
        assert files.path("/name").read_text() == "disk"
