"""Checks of locks and watches."""

from __future__ import annotations

import time

from libsel4py.bell import Bell
from libsel4py.interfaces.file import (
    Access,
    Change,
    ChangeKind,
    Locked,
    NoSuchFile,
    NotPermitted,
    OpenFlags,
    StaleHandle,
    TooManyOpen,
)
from libsel4py.testing.checks import refused
from libsel4py.testing.file_system.subject import NEW, READ, Client, Subject, check, waits

SECONDS = 10.0


@check
def _0090(subject: Subject) -> None:
    """FILE0090 An exclusive lock keeps out all others, a shared one the exclusive ones."""
    with subject.client() as client, subject.client() as other:
        mine, theirs, third = client.open("f"), other.open("f"), other.open("f")
        assert mine.try_lock(True)
        assert not theirs.try_lock(True)
        assert not theirs.try_lock(False)
        mine.unlock()
        assert mine.try_lock(False)
        assert theirs.try_lock(False)
        assert not third.try_lock(True)
        mine.unlock()
        theirs.unlock()
        assert third.try_lock(True)


@check
def _0091(subject: Subject) -> None:
    """FILE0091 A lock is the handle's: taken again it is held, changed if nobody is in the way, and unlocked once."""
    with subject.client() as client:
        mine, other = client.open("f"), client.open("f")
        for exclusive in (True, True, False, True):
            assert mine.try_lock(exclusive)
        assert mine.try_lock(False)
        assert other.try_lock(False)
        assert not mine.try_lock(True), "a lock became exclusive that another one shares"
        assert not other.try_lock(True)
        mine.unlock()
        mine.unlock()
        assert other.try_lock(True)


@check
def _0092(subject: Subject) -> None:
    """FILE0092 lock takes what is free without waiting, and keeps nobody from reading and writing."""
    with subject.client() as client, subject.client() as other:
        client.open("f").lock(True)
        client.open("g").lock(False)
        other.put("f", b"written")
        assert client.get("f") == b"written"


@check
def _0093(subject: Subject) -> None:
    """FILE0093 Closing the file, closing the session and taking its memory back free the lock."""
    with subject.client() as watcher:
        mine = watcher.open("f")
        for how in ("close", "session", "memory"):
            with subject.client() as client:
                file = client.open("f")
                assert file.try_lock(True), how
                assert not mine.try_lock(True)
                if how == "close":
                    file.close()
                elif how == "session":
                    client.directory.close()
                else:
                    client.pool.take_back()
                assert mine.try_lock(True), f"the lock is held after {how}"
                mine.unlock()


@check
def _0094(subject: Subject) -> None:
    """FILE0094 A lock goes with the file, not with its name."""
    with subject.client() as client:
        mine = client.open("f")
        assert mine.try_lock(True)
        client.directory.rename("f", "g")
        assert not client.open("g").try_lock(True)
        assert client.open("f").try_lock(True)


@waits
def _0095(subject: Subject) -> None:
    """FILE0095 Who waits for a lock has it when it is given up."""
    assert subject.background is not None
    with subject.client() as client, subject.client() as other:
        mine, theirs = client.open("f"), other.open("f")
        mine.lock(False)
        waiting = subject.background(lambda: theirs.lock(True))
        _until_waits(client)
        mine.unlock()
        waiting.result(SECONDS)
        assert not mine.try_lock(False)


@waits
def _0096(subject: Subject) -> None:
    """FILE0096 Whoever comes later waits behind who waits, so that readers do not keep a writer out."""
    assert subject.background is not None
    with subject.client() as client, subject.client() as other:
        reader, writer = client.open("f"), other.open("f")
        reader.lock(False)
        waiting = subject.background(lambda: writer.lock(True))
        _until_waits(client)
        assert not client.open("f").try_lock(False)
        reader.unlock()
        waiting.result(SECONDS)


@waits
def _0097(subject: Subject) -> None:
    """FILE0097 Who waits for the lock of a session that ends has it then."""
    assert subject.background is not None
    with subject.client() as other:
        theirs = other.open("f")
        with subject.client() as client:
            mine = client.open("f")
            mine.lock(False)
            waiting = subject.background(lambda: theirs.lock(True))
            _until_waits(client)
            client.directory.close()
            waiting.result(SECONDS)


@waits
def _0098(subject: Subject) -> None:
    """FILE0098 A handle that is closed while it waits gets Locked, and the lock stays with its holder."""
    assert subject.background is not None
    with subject.client() as client, subject.client() as other:
        mine, theirs = client.open("f"), other.open("f")
        mine.lock(False)
        waiting = subject.background(lambda: theirs.lock(True))
        _until_waits(client)
        theirs.close()
        error = waiting.exception(SECONDS)
        assert isinstance(error, Locked), error
        assert not client.open("f").try_lock(True)


@waits
def _0099(subject: Subject) -> None:
    """FILE0099 Who waits for the lock of a client that has taken its memory back, or is dead, has it at once."""
    assert subject.background is not None
    with subject.client() as other, subject.client() as client:
        theirs, mine = other.open("f"), client.open("f")
        mine.lock(False)
        waiting = subject.background(lambda: theirs.lock(True))
        _until_waits(other)
        client.pool.take_back()
        waiting.result(SECONDS)


def _until_waits(client: Client) -> None:
    """Until the server has the call that waits for an exclusive lock: then a shared one is refused, and not before."""
    file, deadline = client.open("f"), time.monotonic() + SECONDS
    while file.try_lock(False):
        file.unlock()
        assert time.monotonic() < deadline, "nobody waits"


# --- watches


@check
def _0100(subject: Subject) -> None:
    """FILE0100 A watch rings, and tells what was created, changed, removed and renamed."""
    with subject.client() as client, Bell.allocate(subject.task) as bell:
        watch = client.directory.watch("", bell.peer)
        assert client.directory.changes(watch) == []
        client.put("f", b"1")
        bell.wait(SECONDS)
        assert client.directory.changes(watch) == [Change(ChangeKind.CREATED, "f"), Change(ChangeKind.CHANGED, "f")]
        client.directory.rename("f", "g")
        client.directory.make_directory("d")
        client.directory.remove("g")
        bell.wait(SECONDS)
        assert client.directory.changes(watch) == [
            Change(ChangeKind.REMOVED, "f"),
            Change(ChangeKind.CREATED, "g"),
            Change(ChangeKind.CREATED, "d"),
            Change(ChangeKind.REMOVED, "g"),
        ]
        assert client.directory.changes(watch) == []


@check
def _0101(subject: Subject) -> None:
    """FILE0101 A watch sees its subtree alone, and what is below it."""
    for path in ("d", "d/e", "dd"):
        subject.directory.make_directory(path)
    with subject.client() as client, Bell.allocate(subject.task) as bell:
        watch = client.directory.watch("d", bell.peer)
        client.put("f", b"")
        client.directory.make_directory("dd/x")
        assert client.directory.changes(watch) == []
        client.directory.make_directory("d/e/x")
        assert client.directory.changes(watch) == [Change(ChangeKind.CREATED, "d/e/x")]


@check
def _0102(subject: Subject) -> None:
    """FILE0102 What others do in the subtree of a narrowed capability is told by paths of its own."""
    subject.directory.make_directory("d")
    with (
        subject.client() as client,
        subject.narrowed(subject.directory, "d", Access.READ) as narrow,
        subject.client(narrow) as reader,
        Bell.allocate(subject.task) as bell,
    ):
        watch = reader.directory.watch("", bell.peer)
        client.put("outside", b"")
        client.directory.make_directory("d/inside")
        bell.wait(SECONDS)
        assert reader.directory.changes(watch) == [Change(ChangeKind.CREATED, "inside")]


@check
def _0103(subject: Subject) -> None:
    """FILE0103 Writes, truncation and pieces are CHANGED, one after the other once; reading is nothing."""
    with subject.client() as client, Bell.allocate(subject.task) as bell:
        client.put("f", b"123")
        file = client.open("f")
        watch = client.directory.watch("f", bell.peer)
        client.read(file, 0, 3)
        assert client.directory.changes(watch) == []
        for _ in range(5):
            file.write_piece(0, b"x")
        assert client.directory.changes(watch) == [Change(ChangeKind.CHANGED, "f")]
        file.truncate(0)
        assert client.directory.changes(watch) == [Change(ChangeKind.CHANGED, "f")]
        client.directory.open_number("f", NEW | OpenFlags.TRUNCATE)
        assert client.directory.changes(watch) == []


@check
def _0104(subject: Subject) -> None:
    """FILE0104 More than is kept ends with LOST, and after that it goes on."""
    with subject.client() as client, Bell.allocate(subject.task) as bell:
        watch = client.directory.watch("", bell.peer)
        for _ in range(40):
            client.directory.make_directory("d")
            client.directory.remove("d")
        changes = client.directory.changes(watch)
        assert changes[-1].kind is ChangeKind.LOST
        assert len(changes) == 65
        client.directory.make_directory("d")
        assert client.directory.changes(watch) == [Change(ChangeKind.CREATED, "d")]


@check
def _0105(subject: Subject) -> None:
    """FILE0105 What is not watched any more, or was never, is StaleHandle; nothing can be watched that is not there."""
    with subject.client() as client, subject.client() as other, Bell.allocate(subject.task) as bell:
        watch = client.directory.watch("", bell.peer)
        refused(StaleHandle, "another's", lambda: other.directory.changes(watch))
        client.directory.unwatch(watch)
        refused(StaleHandle, "changes", lambda: client.directory.changes(watch))
        refused(StaleHandle, "unwatch", lambda: client.directory.unwatch(watch))
        refused(NoSuchFile, "watch", lambda: client.directory.watch("nothing", bell.peer))
        client.put("f", b"")


@check
def _0106(subject: Subject) -> None:
    """FILE0106 Watches need the right to read, and come to an end (TooManyOpen)."""
    with subject.client() as client, Bell.allocate(subject.task) as bell:
        with (
            subject.narrowed(client.directory, "", Access.WRITE) as narrow,
            subject.client(narrow) as writer,
        ):
            refused(NotPermitted, "watch", lambda: writer.directory.watch("", bell.peer))
        for _ in range(100):
            try:
                client.directory.watch("", bell.peer)
            except TooManyOpen:
                break
        else:
            raise AssertionError("100 watches of one session")
        client.put("f", b"")
        assert client.get("f") == b""
        client.open("f", READ)


@check
def _0107(subject: Subject) -> None:
    """FILE0107 A bell that is gone, or a session that is, keeps nobody from writing."""
    with subject.client() as client:
        with subject.client() as other:
            bell = Bell.allocate(subject.task)
            other.directory.watch("", bell.peer)
            client.put("f", b"1")
            bell.close()
            client.put("g", b"2")
            client.directory.remove("g")
        client.put("h", b"3")
        assert client.get("h") == b"3"
