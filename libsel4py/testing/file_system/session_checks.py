"""Checks of sessions: who pays, what ends with what, and what nobody gets from anybody else."""

from __future__ import annotations

from contextlib import ExitStack

from libsel4py.abi import Rights
from libsel4py.capabilities import Untyped
from libsel4py.dataspace import DataSpace, NotADataSpace, SharedMemory
from libsel4py.errors import InvalidMessage, NotEnoughMemory
from libsel4py.interfaces.file import (
    HANDLE_BYTES,
    MOST_BUFFER_BYTES,
    Access,
    Directory,
    NotPermitted,
    StaleHandle,
    TooManyOpen,
)
from libsel4py.lending import lend
from libsel4py.testing.checks import refused
from libsel4py.testing.file_system.subject import NEW, POOL_BITS, READ, Subject, check


@check
def _0070(subject: Subject) -> None:
    """FILE0070 Without a session nothing is opened, attached, watched or closed."""
    directory = subject.directory
    refused(NotPermitted, "open", lambda: directory.open("f", NEW))
    refused(NotPermitted, "open_number", lambda: directory.open_number("f", NEW))
    refused(NotPermitted, "close", directory.close)
    refused(NotPermitted, "changes", lambda: directory.changes(1))
    with DataSpace.allocate(4096, subject.task) as space:
        refused(NotPermitted, "attach", lambda: directory.attach(space.share()))
    assert directory.list("") == []


@check
def _0071(subject: Subject) -> None:
    """FILE0071 After close the session and its files are StaleHandle; the memory can be lent again."""
    with subject.client() as client:
        file = client.open("f")
        client.directory.close()
        refused(StaleHandle, "stat", lambda: client.directory.stat(""))
        refused(StaleHandle, "size", file.size)
        refused(StaleHandle, "close", client.directory.close)
        client.pool.take_back()
        endpoint = subject.directory.session(client.pool.untyped)
        assert Directory(endpoint).stat("f").size == 0
        subject.task.delete(endpoint)


@check
def _0072(subject: Subject) -> None:
    """FILE0072 When the memory is taken back the session is over at once, with its files; others go on."""
    with subject.client() as client, subject.client() as other:
        file, theirs = client.open("f"), other.open("f")
        client.write(file, 0, b"kept")
        client.pool.take_back()
        refused(StaleHandle, "size", file.size)
        refused(StaleHandle, "stat", lambda: client.directory.stat(""))
        assert theirs.read_piece(0, 10) == b"kept"


@check
def _0073(subject: Subject) -> None:
    """FILE0073 A pool that is too small is NotEnoughMemory, and comes back whole."""
    with lend(subject.task, 12) as pool:
        refused(NotEnoughMemory, "session", lambda: subject.directory.session(pool.untyped))


@check
def _0074(subject: Subject) -> None:
    """FILE0074 What is no memory is refused as a pool, and as a buffer."""
    bell = subject.task.notification
    refused((InvalidMessage, NotEnoughMemory), "session", lambda: subject.directory.session(Untyped(bell.cptr)))
    with subject.client() as client:
        refused(NotADataSpace, "attach", lambda: client.directory.attach(SharedMemory(bell.cptr)))
        client.put("f", b"with the buffer of before")
        assert client.get("f") == b"with the buffer of before"


@check
def _0075(subject: Subject) -> None:
    """FILE0075 Who opens without end comes to the end of the own memory (TooManyOpen); others open on."""
    with subject.client() as client, subject.client() as other:
        client.put("f", b"bytes")
        opened = []
        try:
            for _ in range((1 << POOL_BITS) // HANDLE_BYTES + 1):
                opened.append(client.directory.open_number("f", READ)[0])
        except TooManyOpen:
            pass
        else:
            raise AssertionError(f"{len(opened)} files were opened on {1 << POOL_BITS} bytes")
        assert len(opened) >= 16, f"only {len(opened)} files were opened"
        refused(TooManyOpen, "narrow", lambda: client.directory.narrow("", Access.READ))
        assert other.get("f") == b"bytes"
        client.directory.close_number(opened[0])
        client.directory.open_number("f", READ)


@check
def _0076(subject: Subject) -> None:
    """FILE0076 Sessions without end come to an end (TooManyOpen), and closing one makes room."""
    with ExitStack() as stack:
        made = []
        for _ in range(20):
            pool = stack.enter_context(lend(subject.task, 13))
            try:
                made.append(subject.directory.session(pool.untyped))
            except TooManyOpen:
                break
            stack.callback(subject.task.delete, made[-1])
        else:
            raise AssertionError("20 sessions were opened by one capability")
        assert len(made) >= 8, f"only {len(made)} sessions were opened"
        Directory(made[0]).close()
        with lend(subject.task, 13) as pool:
            endpoint = subject.directory.session(pool.untyped)
            subject.task.delete(endpoint)


@check
def _0077(subject: Subject) -> None:
    """FILE0077 Sessions whose memory was taken back make room for others."""
    for _ in range(40):
        with subject.client() as client:
            client.put("f", b"x")


@check
def _0078(subject: Subject) -> None:
    """FILE0078 One session's numbers and buffer are of no use to another one."""
    with subject.client() as client, subject.client() as other:
        client.put("f", b"secret")
        number, *_ = client.directory.open_number("f", READ)
        other.memory.write(0, b"......")
        for each in (0, 1, 2, number - 1, number, number + 1):
            refused(StaleHandle, f"number {each}", lambda each=each: other.directory.read_number(each, 0, 6, 0))  # type: ignore[misc]
        assert other.memory.read(0, 6) == b"......"


@check
def _0079(subject: Subject) -> None:
    """FILE0079 Without a buffer, and with one whose memory is gone, bytes are StaleHandle; pieces go on."""
    with subject.client() as client:
        file = client.open("f")
        file.write_piece(0, b"bytes")
        client.space.revoke()
        refused(StaleHandle, "read", lambda: file.read(0, 5, 0))
        refused(StaleHandle, "write", lambda: file.write(0, 5, 0))
        assert file.read_piece(0, 5) == b"bytes"
        client.directory.attach(client.space.share())
        assert client.read(file, 0, 5) == b"bytes"
    with lend(subject.task, POOL_BITS) as pool:
        endpoint = subject.directory.session(pool.untyped)
        number, *_ = Directory(endpoint).open_number("f", READ)
        refused(StaleHandle, "read", lambda: Directory(endpoint).read_number(number, 0, 1, 0))
        subject.task.delete(endpoint)


@check
def _0080(subject: Subject) -> None:
    """FILE0080 A buffer that may only be read serves for writing files, and not for reading them."""
    with subject.client() as client:
        file = client.open("f")
        client.memory.write(0, b"bytes")
        client.directory.attach(client.space.share(Rights.READ))
        assert file.write(0, 5, 0) == 5
        refused(NotPermitted, "read", lambda: file.read(0, 5, 0))
        assert client.memory.read(0, 5) == b"bytes"


@check
def _0081(subject: Subject) -> None:
    """FILE0081 A buffer is replaced by another one, of several frames too."""
    with subject.client() as client, DataSpace.allocate(3 * 4096, subject.task) as space:
        client.put("f", b"bytes")
        memory = space.attach()
        client.directory.attach(space.share())
        file = client.open("f", READ)
        assert file.read(0, 100, 4094) == 5
        assert memory.read(4094, 5) == b"bytes"
        refused(InvalidMessage, "behind its end", lambda: file.read(0, 5, 3 * 4096 - 4))
        client.directory.close()
    assert MOST_BUFFER_BYTES >= 256 << 10


@check
def _0082(subject: Subject) -> None:
    """FILE0082 A session opens sessions, on memory of their own; they end with it, and it does not end with them."""
    with subject.client() as client:
        client.put("f", b"bytes")
        with subject.client(client.directory) as second:
            assert second.get("f") == b"bytes"
            second.directory.close()
        with subject.narrowed(client.directory, "", Access.READ) as narrow, subject.client(narrow) as third:
            assert third.get("f") == b"bytes"
            file = third.open("f", READ)
            client.directory.close()
            refused(StaleHandle, "stat", lambda: third.directory.stat("f"))
            refused(StaleHandle, "read", lambda: file.read(0, 1, 0))
    with subject.client() as client, subject.client(client.directory) as second:
        number, *_ = second.directory.open_number("f", READ)
        assert second.directory.stat("f").size == 5
        client.pool.take_back()
        refused(StaleHandle, "stat", lambda: second.directory.stat("f"))
        refused(StaleHandle, "read", lambda: second.directory.read_number(number, 0, 1, 0))


@check
def _0083(subject: Subject) -> None:
    """FILE0083 A capability of the server's own is taken neither as a pool, nor as memory, nor to ring."""
    with subject.client() as client:
        own = client.directory.narrow("", Access.READ)
        refused(InvalidMessage, "session", lambda: client.directory.session(Untyped(own.cptr)))
        refused(InvalidMessage, "attach", lambda: client.directory.attach(SharedMemory(own.cptr)))
        subject.task.delete(own)
        assert client.directory.list("") == []
