"""Checks of a server that is started again, and of what clients need to go on with it."""

from __future__ import annotations

from libsel4py.interface import endpoint_of
from libsel4py.interfaces.file import Access, Directory, NoSuchFile, NotPermitted, StaleHandle
from libsel4py.testing.checks import refused
from libsel4py.testing.file_system.subject import BOTH, NEW, READ, Subject, check, restarts


@check
def _0121(subject: Subject) -> None:
    """FILE0121 append_number writes to the end and says where that was, whatever was written there before."""
    with subject.client() as client:
        client.put("f", b"01234")
        number, *_ = client.directory.open_number("f", BOTH)
        reader, *_ = client.directory.open_number("f", READ)
        client.memory.write(0, b"abc")
        assert client.directory.append_number(number, 3, 0) == 5
        assert client.directory.append_number(number, 2, 1) == 8
        refused(NotPermitted, "append_number", lambda: client.directory.append_number(reader, 1, 0))
        assert client.get("f") == b"01234abcbc"


@check
def _0122(subject: Subject) -> None:
    """FILE0122 A file has one identity; another file that takes its name has another, by a rename or made anew."""
    with subject.client() as client:
        directory = client.directory
        seen = []
        client.put("f", b"first")
        seen.append(directory.open_number("f", READ)[2])
        client.put("f", b"changed")
        assert directory.open_number("f", READ)[2] == seen[0]
        for _ in range(3):
            client.put("new", b"replaces")
            directory.rename("new", "f")
            seen.append(directory.open_number("f", READ)[2])
        for _ in range(2):
            directory.remove("f")
            client.put("f", b"made anew")
            seen.append(directory.open_number("f", READ)[2])
        assert len(set(seen)) == len(seen), seen


@check
def _0123(subject: Subject) -> None:
    """FILE0123 So it is where a directory takes the name of another one."""
    with subject.client() as client:
        directory = client.directory
        seen = []
        for name in ("d", "e"):
            directory.make_directory(name)
            client.put(f"{name}/f", b"x")
        seen.append(directory.open_number("d/f", READ)[2])
        directory.remove("d/f")
        directory.remove("d")
        directory.rename("e", "d")
        seen.append(directory.open_number("d/f", READ)[2])
        directory.rename("d", "old")
        directory.make_directory("d")
        client.put("d/f", b"x")
        seen.append(directory.open_number("d/f", READ)[2])
        assert len(set(seen)) == len(seen), seen


@check
def _0124(subject: Subject) -> None:
    """FILE0124 The identity of a file that is renamed is asked by its number; without a name it has none."""
    with subject.client() as client:
        directory = client.directory
        client.put("target", b"")
        number, _, identity = directory.open_number("f", NEW)
        assert directory.identity_number(number) == identity
        directory.rename("f", "target")
        assert directory.identity_number(number) == directory.open_number("target", READ)[2]
        directory.remove("target")
        refused(StaleHandle, "identity_number", lambda: directory.identity_number(number))


@check
def _0125(subject: Subject) -> None:
    """FILE0125 A lock can be reclaimed as long as nobody had it in this life; shared ones by several.

    Another file that has its name has a lock of its own.
    """
    with subject.client() as client, subject.client() as other:
        client.put("reclaimed", b"")
        mine, *_ = client.directory.open_number("reclaimed", READ)
        theirs, *_ = other.directory.open_number("reclaimed", READ)
        assert client.directory.reclaim_number(mine, False)
        assert other.directory.reclaim_number(theirs, False)
        assert not other.directory.reclaim_number(theirs, True)
        client.directory.close_number(mine)
        assert other.directory.reclaim_number(theirs, True)
        other.directory.close_number(theirs)
        file = client.open("reclaimed", READ)
        assert file.try_lock(False)
        file.unlock()
        theirs, *_ = other.directory.open_number("reclaimed", READ)
        assert other.directory.reclaim_number(theirs, False)
        assert not other.directory.reclaim_number(theirs, True)
        other.directory.close_number(theirs)
        other.directory.remove("reclaimed")
        other.put("reclaimed", b"another file")
        theirs, *_ = other.directory.open_number("reclaimed", READ)
        assert other.directory.reclaim_number(theirs, True)


@restarts
def _0130(subject: Subject) -> None:
    """FILE0130 What the former life gave out is StaleHandle, and stays it; connections of the description go on."""
    assert subject.restart is not None
    with subject.client() as client:
        file = client.open("f")
        number, *_ = client.directory.open_number("f", READ)
        with subject.narrowed(client.directory, "", Access.READ) as narrow:
            subject.restart()
            subject.directory.list("")
            with subject.client() as other:
                other.put("other", b"other")
                other.directory.open_number("other", READ)
                for what, act in {
                    "the session": lambda: client.directory.stat(""),
                    "a number of it": lambda: client.directory.size_number(number),
                    "a number in another session": lambda: other.directory.size_number(number),
                    "a file": file.size,
                    "a narrowed capability": lambda: narrow.stat(""),
                    "a session by it": lambda: narrow.session(client.pool.untyped),
                }.items():
                    refused(StaleHandle, what, act)


@restarts
def _0131(subject: Subject) -> None:
    """FILE0131 The origin says whether the files are the same: then what was synced is there, with its identity."""
    assert subject.restart is not None
    origin = subject.directory.origin()
    with subject.client() as client:
        file = client.open("f")
        client.write(file, 0, b"synced")
        file.sync()
        identity = client.directory.open_number("f", READ)[2]
        client.write(file, 0, b"not synced")
        subject.restart()
    again = subject.directory.origin()
    assert again.survives == origin.survives
    assert (again.volume == origin.volume) == origin.survives
    with subject.client() as client:
        if origin.survives:
            assert client.get("f") == b"synced"
            assert client.directory.open_number("f", READ)[2] == identity
        else:
            refused(NoSuchFile, "what was there", lambda: client.get("f"))


@restarts
def _0132(subject: Subject) -> None:
    """FILE0132 Who had a lock has it again, unless another had it since, even if it was given up."""
    assert subject.restart is not None
    with subject.client() as client:
        file = client.open("f")
        file.sync()
        assert file.try_lock(True)
    subject.restart()
    with subject.client() as client, subject.client() as other:
        number, *_ = client.directory.open_number("f", NEW)
        assert client.directory.reclaim_number(number, True)
        theirs = other.open("f")
        assert not theirs.try_lock(False)
        client.directory.close_number(number)
        assert theirs.try_lock(True)
        theirs.unlock()
        number, *_ = client.directory.open_number("f", READ)
        assert not client.directory.reclaim_number(number, True)
        assert Directory(endpoint_of(client.directory)).stat("f").size == 0
