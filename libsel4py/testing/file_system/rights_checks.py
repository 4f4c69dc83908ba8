"""Checks of rights and of narrowing: what a capability does not give is not to be had."""

from __future__ import annotations

from libsel4py.errors import InvalidMessage
from libsel4py.interface import endpoint_of
from libsel4py.interfaces.file import (
    Access,
    BadPath,
    Directory,
    NoSuchFile,
    NotDirectory,
    NotPermitted,
    OpenFlags,
    StaleHandle,
)
from libsel4py.testing.checks import refused
from libsel4py.testing.file_system.name_checks import BAD_PATHS
from libsel4py.testing.file_system.subject import BOTH, NEW, READ, WRITE, Client, Subject, check, names


def _tree(client: Client) -> None:
    for path in ("pub", "pub/in", "secret"):
        client.directory.make_directory(path)
    client.put("pub/f", b"public")
    client.put("pub/in/g", b"deep")
    client.put("secret/key", b"secret")


def _ensure_cannot_write(client: Client) -> None:
    directory = client.directory
    for flags in (WRITE, BOTH, NEW, BOTH | OpenFlags.TRUNCATE, BOTH | OpenFlags.APPEND):
        refused(NotPermitted, f"open with {flags!r}", lambda flags=flags: client.open("f", flags))  # type: ignore[misc]
        refused(NotPermitted, "by number", lambda flags=flags: directory.open_number("f", flags))  # type: ignore[misc]
    for what, act in {
        "make_directory": lambda: directory.make_directory("new"),
        "remove": lambda: directory.remove("f"),
        "rename": lambda: directory.rename("f", "h"),
    }.items():
        refused(NotPermitted, what, act)
    file = client.open("f", READ)
    refused(NotPermitted, "write", lambda: file.write(0, 1, 0))
    refused(NotPermitted, "write_piece", lambda: file.write_piece(0, b"x"))
    refused(NotPermitted, "truncate", lambda: file.truncate(0))
    number, *_ = directory.open_number("f", READ)
    refused(NotPermitted, "write_number", lambda: directory.write_number(number, 0, 1, 0))
    refused(NotPermitted, "truncate_number", lambda: directory.truncate_number(number, 0))


@check
def _0060(subject: Subject) -> None:
    """FILE0060 A narrowed capability sees its subtree as its root."""
    with subject.client() as client:
        _tree(client)
        with subject.narrowed(subject.directory, "pub", Access.ALL) as narrow, subject.client(narrow) as other:
            assert names(narrow.list("")) == ["f", "in"]
            assert other.get("in/g") == b"deep"
            other.put("in/h", b"new")
            assert client.get("pub/in/h") == b"new"


@check
def _0061(subject: Subject) -> None:
    """FILE0061 There is no way out of a subtree: not by '..', '/', a long path, or a rename."""
    with subject.client() as client:
        _tree(client)
        with subject.narrowed(client.directory, "pub", Access.ALL) as narrow:
            for path in (*BAD_PATHS, "../secret/key", "in/../../secret", "/secret", "..\\secret"):
                refused((BadPath, NoSuchFile), repr(path), lambda path=path: narrow.stat(path))  # type: ignore[misc]
                refused((BadPath, NoSuchFile), repr(path), lambda path=path: narrow.rename("f", f"{path}/x"))  # type: ignore[misc]
            refused(NoSuchFile, "a name of above", lambda: narrow.stat("secret"))
        assert client.get("secret/key") == b"secret"


@check
def _0062(subject: Subject) -> None:
    """FILE0062 With READ alone nothing is changed, in no way; what is there is read."""
    with subject.client() as client:
        _tree(client)
        with subject.narrowed(subject.directory, "pub", Access.READ) as narrow, subject.client(narrow) as reader:
            assert reader.get("f") == b"public"
            _ensure_cannot_write(reader)
            for act in (
                lambda: narrow.make_directory("x"),
                lambda: narrow.remove("f"),
                lambda: narrow.rename("f", "x"),
            ):
                refused(NotPermitted, "without a session", act)
        assert client.get("pub/f") == b"public"
        assert names(client.directory.list("pub")) == ["f", "in"]


@check
def _0063(subject: Subject) -> None:
    """FILE0063 Narrowing gives no right that was not there, however often and in whatever order."""
    with subject.client() as client:
        _tree(client)
        with (
            subject.narrowed(client.directory, "pub", Access.READ) as reader,
            subject.narrowed(reader, "", Access.ALL) as again,
            subject.narrowed(again, "in", Access.ALL) as deeper,
        ):
            refused(NotPermitted, "remove", lambda: again.remove("f"))
            refused(NotPermitted, "remove", lambda: deeper.remove("g"))
            assert deeper.stat("g").size == 4


@check
def _0064(subject: Subject) -> None:
    """FILE0064 With WRITE alone nothing is read: no bytes, no names, no sizes."""
    with subject.client() as client:
        _tree(client)
        with subject.narrowed(subject.directory, "pub", Access.WRITE) as narrow, subject.client(narrow) as writer:
            refused(NotPermitted, "list", lambda: narrow.list(""))
            refused(NotPermitted, "stat", lambda: narrow.stat("f"))
            refused(NotPermitted, "open", lambda: writer.open("f", READ))
            refused(NotPermitted, "open", lambda: writer.open("f", BOTH))
            writer.open("f", WRITE).write_piece(0, b"P")
        assert client.get("pub/f") == b"Public"


@check
def _0065(subject: Subject) -> None:
    """FILE0065 Rights that are none, or more than there are, and what is no directory, cannot be narrowed to."""
    with subject.client() as client:
        _tree(client)
        for rights in (0, 4, 1 << 40, (1 << 64) - 1):
            refused(InvalidMessage, f"rights {rights:#x}", lambda rights=rights: client.directory.narrow("pub", rights))  # type: ignore[misc]
        refused(NotDirectory, "a file", lambda: client.directory.narrow("pub/f", Access.READ))
        refused(NoSuchFile, "nothing", lambda: client.directory.narrow("nothing", Access.READ))


@check
def _0066(subject: Subject) -> None:
    """FILE0066 A narrowed capability follows its directory when that is renamed."""
    with subject.client() as client:
        _tree(client)
        with subject.narrowed(client.directory, "pub/in", Access.ALL) as narrow:
            client.directory.rename("pub", "moved")
            assert narrow.stat("g").size == 4
            client.directory.make_directory("pub")
            client.directory.make_directory("pub/in")
            assert names(narrow.list("")) == ["g"], "it sees another directory that has the old name"


@check
def _0067(subject: Subject) -> None:
    """FILE0067 A narrowed capability to a directory that was removed is StaleHandle, even if one is there again."""
    with subject.client() as client:
        client.directory.make_directory("d")
        with subject.narrowed(client.directory, "d", Access.ALL) as narrow:
            client.directory.remove("d")
            refused(StaleHandle, "list", lambda: narrow.list(""))
            client.directory.make_directory("d")
            client.put("d/f", b"another's")
            refused(StaleHandle, "list", lambda: narrow.list(""))
            refused(StaleHandle, "remove", lambda: narrow.remove("f"))
            refused(StaleHandle, "session", lambda: _session(subject, narrow))


def _session(subject: Subject, directory: Directory) -> None:
    with subject.client(directory):
        pass


@check
def _0068(subject: Subject) -> None:
    """FILE0068 What a session has narrowed ends with it; what was narrowed without one stays."""
    subject.directory.make_directory("d")
    with subject.narrowed(subject.directory, "d", Access.READ) as kept:
        with subject.client() as client, subject.narrowed(client.directory, "d", Access.READ) as narrow:
            assert narrow.list("") == []
            client.directory.close()
            refused(StaleHandle, "list", lambda: narrow.list(""))
        assert kept.list("") == []


@check
def _0069(subject: Subject) -> None:
    """FILE0069 What is open stays open with what it was opened for, whoever else has which rights."""
    with subject.client() as client:
        _tree(client)
        with subject.narrowed(client.directory, "pub", Access.READ) as narrow, subject.client(narrow) as reader:
            writer = client.open("pub/f", BOTH)
            file = reader.open("f", READ)
            writer.write_piece(0, b"PUBLIC")
            assert file.read_piece(0, 10) == b"PUBLIC"
            refused(NotPermitted, "write_piece", lambda: file.write_piece(0, b"x"))
            assert endpoint_of(writer) != endpoint_of(file)
