"""Checks of names: directories, removal, renaming, paths."""

from __future__ import annotations

from libsel4py.interfaces.file import (
    BadPath,
    DirectoryNotEmpty,
    FileExists,
    IsDirectory,
    Kind,
    NoSuchFile,
    NotDirectory,
    NotPermitted,
)
from libsel4py.testing.checks import refused
from libsel4py.testing.file_system.subject import NEW, READ, Subject, check, names

BAD_PATHS = ("/a", "a/", "a//b", ".", "..", "a/..", "a/../b", "./a", "a/.", "a\0b", "a/..//b", "/", "//", "a/./b")


@check
def _0001(subject: Subject) -> None:
    """FILE0001 The root is a directory, and an empty one has no entries."""
    assert subject.directory.stat("").kind is Kind.DIRECTORY
    assert subject.directory.list("") == []


@check
def _0002(subject: Subject) -> None:
    """FILE0002 A directory that was made is there, of kind DIRECTORY, and empty."""
    subject.directory.make_directory("d")
    assert subject.directory.stat("d").kind is Kind.DIRECTORY
    assert subject.directory.list("d") == []


@check
def _0003(subject: Subject) -> None:
    """FILE0003 Directories are made in directories, as deep as a path reaches."""
    path = ""
    for depth in range(20):
        path = f"{path}/level{depth}".lstrip("/")
        subject.directory.make_directory(path)
    assert subject.directory.stat(path).kind is Kind.DIRECTORY


@check
def _0004(subject: Subject) -> None:
    """FILE0004 What is there cannot be made: FileExists, be it a file, a directory or the root."""
    subject.directory.make_directory("d")
    with subject.client() as client:
        client.put("f", b"")
    for path in ("d", "f", ""):
        refused(FileExists, f"make_directory({path!r})", lambda path=path: subject.directory.make_directory(path))  # type: ignore[misc]


@check
def _0005(subject: Subject) -> None:
    """FILE0005 A directory cannot be made where there is none to be in (NoSuchFile), nor in a file (NotDirectory)."""
    refused(NoSuchFile, "in nothing", lambda: subject.directory.make_directory("a/b"))
    with subject.client() as client:
        client.put("f", b"")
    refused((NotDirectory, NoSuchFile), "in a file", lambda: subject.directory.make_directory("f/b"))


@check
def _0006(subject: Subject) -> None:
    """FILE0006 stat and list of what is not there raise NoSuchFile."""
    refused(NoSuchFile, "stat", lambda: subject.directory.stat("nothing"))
    refused(NoSuchFile, "stat of what is in nothing", lambda: subject.directory.stat("nothing/here"))
    refused(NoSuchFile, "list", lambda: subject.directory.list("nothing"))


@check
def _0007(subject: Subject) -> None:
    """FILE0007 list is sorted by name and tells kind and size."""
    with subject.client() as client:
        for name in ("b", "a", "c"):
            client.put(name, name.encode() * 3)
        client.directory.make_directory("aa")
        entries = client.directory.list("")
    assert names(entries) == ["a", "aa", "b", "c"], names(entries)
    assert [entry.kind for entry in entries] == [Kind.FILE, Kind.DIRECTORY, Kind.FILE, Kind.FILE]
    assert [entry.size for entry in entries if entry.kind is Kind.FILE] == [3, 3, 3]


@check
def _0008(subject: Subject) -> None:
    """FILE0008 list of a file raises NotDirectory."""
    with subject.client() as client:
        client.put("f", b"")
    refused(NotDirectory, "list", lambda: subject.directory.list("f"))


@check
def _0009(subject: Subject) -> None:
    """FILE0009 Names in one directory say nothing about another one."""
    subject.directory.make_directory("x")
    subject.directory.make_directory("y")
    with subject.client() as client:
        client.put("x/f", b"in x")
        client.put("y/f", b"in y")
        client.put("f", b"above")
        assert (client.get("x/f"), client.get("y/f"), client.get("f")) == (b"in x", b"in y", b"above")


@check
def _0010(subject: Subject) -> None:
    """FILE0010 What was removed is not there, and its name can be used again."""
    with subject.client() as client:
        client.put("f", b"first")
        client.directory.remove("f")
        refused(NoSuchFile, "stat", lambda: client.directory.stat("f"))
        refused(NoSuchFile, "open", lambda: client.open("f", READ))
        client.directory.make_directory("f")
        client.directory.remove("f")
        client.put("f", b"again")
        assert client.get("f") == b"again"


@check
def _0011(subject: Subject) -> None:
    """FILE0011 A directory that is not empty cannot be removed, an empty one can, nothing cannot."""
    subject.directory.make_directory("d")
    with subject.client() as client:
        client.put("d/f", b"")
    refused(DirectoryNotEmpty, "remove", lambda: subject.directory.remove("d"))
    subject.directory.remove("d/f")
    subject.directory.remove("d")
    refused(NoSuchFile, "a second remove", lambda: subject.directory.remove("d"))


@check
def _0012(subject: Subject) -> None:
    """FILE0012 The root of a capability cannot be removed or renamed."""
    subject.directory.make_directory("d")
    refused(NotPermitted, "remove", lambda: subject.directory.remove(""))
    refused(NotPermitted, "rename", lambda: subject.directory.rename("", "e"))
    refused(NotPermitted, "rename onto it", lambda: subject.directory.rename("d", ""))


@check
def _0013(subject: Subject) -> None:
    """FILE0013 A renamed file has its bytes under the new name, and nothing under the old one."""
    with subject.client() as client:
        client.put("old", b"bytes")
        client.directory.rename("old", "new")
        assert client.get("new") == b"bytes"
        refused(NoSuchFile, "the old name", lambda: client.directory.stat("old"))
        assert names(client.directory.list("")) == ["new"]


@check
def _0014(subject: Subject) -> None:
    """FILE0014 A rename replaces a file, whose bytes are gone."""
    with subject.client() as client:
        client.put("old", b"new bytes")
        client.put("target", b"old bytes, more of them")
        client.directory.rename("old", "target")
        assert client.get("target") == b"new bytes"
        assert names(client.directory.list("")) == ["target"]


@check
def _0015(subject: Subject) -> None:
    """FILE0015 A renamed directory takes along all that is in it, into another directory too."""
    for path in ("d", "d/e", "other"):
        subject.directory.make_directory(path)
    with subject.client() as client:
        client.put("d/e/f", b"deep")
        client.directory.rename("d", "other/moved")
        assert client.get("other/moved/e/f") == b"deep"
        refused(NoSuchFile, "the old name", lambda: client.directory.stat("d/e/f"))


@check
def _0016(subject: Subject) -> None:
    """FILE0016 A directory replaces an empty directory, and none that is not empty."""
    for path in ("d", "empty", "full", "full/e"):
        subject.directory.make_directory(path)
    refused(DirectoryNotEmpty, "onto a full one", lambda: subject.directory.rename("d", "full"))
    subject.directory.rename("d", "empty")
    assert names(subject.directory.list("")) == ["empty", "full"]


@check
def _0017(subject: Subject) -> None:
    """FILE0017 A file does not replace a directory (IsDirectory), nor a directory a file (NotDirectory)."""
    subject.directory.make_directory("d")
    with subject.client() as client:
        client.put("f", b"kept")
        refused(IsDirectory, "a file onto a directory", lambda: client.directory.rename("f", "d"))
        refused(NotDirectory, "a directory onto a file", lambda: client.directory.rename("d", "f"))
        assert client.get("f") == b"kept"


@check
def _0018(subject: Subject) -> None:
    """FILE0018 A directory cannot be moved into itself (BadPath), nor a file, nor what is not there."""
    subject.directory.make_directory("d")
    refused(BadPath, "into itself", lambda: subject.directory.rename("d", "d/e"))
    refused(NoSuchFile, "into nothing", lambda: subject.directory.rename("n", "n/e"))
    with subject.client() as client:
        client.put("f", b"bytes")
    refused(NotDirectory, "into a file", lambda: subject.directory.rename("f", "f/e"))
    assert subject.directory.stat("d").kind is Kind.DIRECTORY


@check
def _0019(subject: Subject) -> None:
    """FILE0019 Renaming to the same name changes nothing; what is not there cannot be renamed."""
    with subject.client() as client:
        client.put("f", b"same")
        client.directory.rename("f", "f")
        assert client.get("f") == b"same"
    refused(NoSuchFile, "rename", lambda: subject.directory.rename("nothing", "f"))
    refused(NoSuchFile, "rename to itself", lambda: subject.directory.rename("nothing", "nothing"))
    assert names(subject.directory.list("")) == ["f"]


@check
def _0020(subject: Subject) -> None:
    """FILE0020 A rename to where no directory is raises NoSuchFile, and the old name stays."""
    with subject.client() as client:
        client.put("f", b"kept")
        refused(NoSuchFile, "rename", lambda: client.directory.rename("f", "nowhere/f"))
        assert client.get("f") == b"kept"


@check
def _0021(subject: Subject) -> None:
    """FILE0021 What is no path is BadPath in every method that takes one."""
    with subject.client() as client:
        client.put("a", b"")
        directory = client.directory
        for path in BAD_PATHS:
            for act in (
                lambda path=path: directory.stat(path),
                lambda path=path: directory.list(path),
                lambda path=path: directory.open(path, NEW),
                lambda path=path: directory.open_number(path, NEW),
                lambda path=path: directory.make_directory(path),
                lambda path=path: directory.remove(path),
                lambda path=path: directory.rename(path, "b"),
                lambda path=path: directory.rename("a", path),
                lambda path=path: directory.narrow(path, 1),
            ):
                refused(BadPath, repr(path), act)
        assert names(directory.list("")) == ["a"]


@check
def _0022(subject: Subject) -> None:
    """FILE0022 A name has 255 bytes and no more; a path 700 and no more."""
    longest = "n" * 255
    with subject.client() as client:
        if client.directory.space().name_bytes >= 255:
            client.put(longest, b"long")
            assert client.get(longest) == b"long"
            assert names(client.directory.list("")) == [longest]
        refused(BadPath, "256 bytes", lambda: client.directory.stat("n" * 256))
        refused(BadPath, "128 letters of two bytes", lambda: client.directory.stat("é" * 128))
        refused(NoSuchFile, "a path of 700", lambda: client.directory.stat("/".join(["p" * 139] * 5)))
        refused(BadPath, "a path of 701", lambda: client.directory.stat("/".join(["p" * 139] * 4 + ["p" * 141])))


@check
def _0023(subject: Subject) -> None:
    """FILE0023 Names are any text of UTF-8 but '/' and NUL, and are not changed."""
    wanted = sorted(["ä", "a b", "a\nb", "...", "..a", "-", "日本", "😀", "\\", "A", "a"])
    with subject.client() as client:
        for name in wanted:
            client.put(name, name.encode())
        assert names(client.directory.list("")) == wanted
        for name in wanted:
            assert client.get(name) == name.encode()


@check
def _0024(subject: Subject) -> None:
    """FILE0024 A file is no directory on the way to anything."""
    with subject.client() as client:
        client.put("f", b"")
        for what, act in {
            "stat": lambda: client.directory.stat("f/x"),
            "open": lambda: client.open("f/x", READ),
            "create": lambda: client.open("f/x", NEW),
            "list": lambda: client.directory.list("f/x"),
        }.items():
            refused((NoSuchFile, NotDirectory), what, act)


@check
def _0025(subject: Subject) -> None:
    """FILE0025 Many files in one directory are all listed, in order, and all can be removed."""
    wanted = [f"file-{number:04}-{'x' * 40}" for number in range(120)]
    with subject.client() as client:
        for name in reversed(wanted):
            client.put(name, b"1")
        assert names(client.directory.list("")) == wanted
        for name in wanted:
            client.directory.remove(name)
        assert client.directory.list("") == []


@check
def _0026(subject: Subject) -> None:
    """FILE0026 space tells sizes that make sense, and sync is no error."""
    space = subject.directory.space()
    assert space.block_bytes > 0
    assert 0 < space.free_blocks <= space.blocks
    assert 0 < space.name_bytes <= 255
    subject.directory.sync()
