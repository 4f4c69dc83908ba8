"""Checks of contents: what is read is what was written."""

from __future__ import annotations

from functools import partial

from libsel4py.errors import InvalidMessage
from libsel4py.interfaces.file import (
    AT_END,
    PIECE_BYTES,
    File,
    FileExists,
    IsDirectory,
    Kind,
    NoSuchFile,
    NotPermitted,
    OpenFlags,
    StaleHandle,
)
from libsel4py.testing.checks import refused
from libsel4py.testing.file_system.subject import BOTH, BUFFER_BYTES, NEW, READ, WRITE, Subject, check, names


def pattern(length: int, seed: int = 1) -> bytes:
    """Bytes that repeat at no power of two."""
    unit = bytes((seed * 31 + index * 7 + index // 251) & 0xFF for index in range(1009))
    return (unit * (length // len(unit) + 1))[:length]


@check
def _0030(subject: Subject) -> None:
    """FILE0030 A new file is empty, and stat says FILE and 0."""
    with subject.client() as client:
        file = client.open("f")
        assert file.size() == 0
        assert client.read(file, 0, 10) == b""
        found = client.directory.stat("f")
        assert (found.kind, found.size) == (Kind.FILE, 0)


@check
def _0031(subject: Subject) -> None:
    """FILE0031 What was written is read, by the same handle, by another one, and after both were closed."""
    with subject.client() as client:
        first = client.open("f")
        client.write(first, 0, b"hello")
        assert client.read(first, 0, 100) == b"hello"
        second = client.open("f", READ)
        assert client.read(second, 1, 3) == b"ell"
        client.close(first)
        client.close(second)
        assert client.get("f") == b"hello"


@check
def _0032(subject: Subject) -> None:
    """FILE0032 open says the size; stat and list know it at once, before anything is closed or synced."""
    with subject.client() as client:
        file = client.open("f")
        client.write(file, 0, b"12345")
        assert client.directory.open_number("f", READ)[1] == 5
        assert client.directory.stat("f").size == 5
        assert client.directory.list("")[0].size == 5


@check
def _0033(subject: Subject) -> None:
    """FILE0033 Without CREATE what is not there is not opened; with EXCLUSIVE what is there is not."""
    with subject.client() as client:
        refused(NoSuchFile, "READ", lambda: client.open("f", READ))
        refused(NoSuchFile, "WRITE", lambda: client.open("f", WRITE))
        exclusive = NEW | OpenFlags.EXCLUSIVE
        file = client.open("f", exclusive)
        refused(FileExists, "EXCLUSIVE while it is open", lambda: client.open("f", exclusive))
        client.close(file)
        refused(FileExists, "EXCLUSIVE", lambda: client.open("f", exclusive))
        client.directory.make_directory("d")
        refused(FileExists, "EXCLUSIVE where a directory is", lambda: client.open("d", exclusive))


@check
def _0034(subject: Subject) -> None:
    """FILE0034 TRUNCATE empties what is there, also for those who have it open; CREATE alone does not."""
    with subject.client() as client:
        client.put("f", b"full")
        file = client.open("f", NEW)
        assert file.size() == 4
        client.open("f", WRITE | OpenFlags.TRUNCATE)
        assert file.size() == 0
        assert client.read(file, 0, 4) == b""


@check
def _0035(subject: Subject) -> None:
    """FILE0035 A directory cannot be opened."""
    with subject.client() as client:
        client.directory.make_directory("d")
        for path in ("d", ""):
            for flags in (READ, BOTH, NEW):
                refused(IsDirectory, f"open({path!r}, {flags!r})", partial(client.open, path, flags))


@check
def _0036(subject: Subject) -> None:
    """FILE0036 A file that was opened for reading is not written, one for writing is not read."""
    with subject.client() as client:
        client.put("f", b"kept")
        reader, writer = client.open("f", READ), client.open("f", WRITE)
        refused(NotPermitted, "write", lambda: client.write(reader, 0, b"x"))
        refused(NotPermitted, "write_piece", lambda: reader.write_piece(0, b"x"))
        refused(NotPermitted, "truncate", lambda: reader.truncate(0))
        refused(NotPermitted, "read", lambda: client.read(writer, 0, 1))
        refused(NotPermitted, "read_piece", lambda: writer.read_piece(0, 1))
        assert client.get("f") == b"kept"


@check
def _0037(subject: Subject) -> None:
    """FILE0037 Flags that make no sense are refused."""
    with subject.client() as client:
        for flags in (0, OpenFlags.CREATE, 1 << 10, READ | 1 << 40):
            refused((InvalidMessage, NotPermitted), f"flags {flags:#x}", lambda flags=flags: client.open("f", flags))  # type: ignore[misc]
        for flags in (OpenFlags.CREATE, OpenFlags.TRUNCATE, OpenFlags.APPEND, OpenFlags.EXCLUSIVE):
            refused(NotPermitted, f"{flags!r} without WRITE", lambda flags=flags: client.open("f", READ | flags))  # type: ignore[misc]
        assert client.directory.list("") == []


@check
def _0038(subject: Subject) -> None:
    """FILE0038 A write in the middle changes these bytes alone."""
    with subject.client() as client:
        client.put("f", pattern(10_000))
        file = client.open("f", BOTH)
        client.write(file, 4_090, b"0123456789")
        expected = bytearray(pattern(10_000))
        expected[4_090:4_100] = b"0123456789"
        assert client.read(file, 0, 20_000) == bytes(expected)


@check
def _0039(subject: Subject) -> None:
    """FILE0039 A write behind the end leaves zeroes between."""
    with subject.client() as client:
        client.put("f", b"abc")
        file = client.open("f", BOTH)
        client.write(file, 9_000, b"far")
        assert file.size() == 9_003
        assert client.read(file, 0, 10_000) == b"abc" + bytes(8_997) + b"far"


@check
def _0040(subject: Subject) -> None:
    """FILE0040 Bytes that were cut off are zeroes when the file grows again."""
    with subject.client() as client:
        client.put("f", pattern(5_000))
        file = client.open("f", BOTH)
        file.truncate(10)
        file.truncate(4_500)
        assert client.read(file, 0, 9_999) == pattern(10) + bytes(4_490)
        client.write(file, 5_000, b"x")
        assert client.read(file, 0, 9_999) == pattern(10) + bytes(4_990) + b"x"


@check
def _0041(subject: Subject) -> None:
    """FILE0041 truncate cuts and lengthens, to 0 and to the same size as well."""
    with subject.client() as client:
        file = client.open("f")
        client.write(file, 0, b"abcdef")
        for size, expected in ((6, b"abcdef"), (3, b"abc"), (5, b"abc\0\0"), (0, b""), (2, b"\0\0")):
            file.truncate(size)
            assert (file.size(), client.read(file, 0, 100)) == (size, expected)


@check
def _0042(subject: Subject) -> None:
    """FILE0042 With APPEND each write goes to the end, whatever offset it names and whoever wrote there before."""
    with subject.client() as client:
        client.put("log", b"0")
        first, second = (client.open("log", BOTH | OpenFlags.APPEND) for _ in range(2))
        client.write(first, 0, b"1")
        client.write(second, 0, b"2")
        client.write(first, 99, b"3")
        assert client.get("log") == b"0123"


@check
def _0043(subject: Subject) -> None:
    """FILE0043 The offset AT_END appends, of a file that was opened without APPEND."""
    with subject.client() as client:
        file = client.open("f")
        for piece in (b"ab", b"c"):
            file.write_piece(AT_END, piece)
        client.memory.write(0, b"de")
        assert file.write(AT_END, 2, 0) == 2
        assert client.read(file, 0, 10) == b"abcde"


@check
def _0044(subject: Subject) -> None:
    """FILE0044 Reads at and behind the end give nothing, and across it what is there."""
    with subject.client() as client:
        client.put("f", b"abc")
        file = client.open("f", READ)
        assert client.read(file, 3, 10) == b""
        assert client.read(file, 1 << 40, 10) == b""
        assert client.read(file, 2, 10) == b"c"
        assert file.read_piece((1 << 64) - 1, 10) == b""


@check
def _0045(subject: Subject) -> None:
    """FILE0045 Nothing written changes nothing, not the size either."""
    with subject.client() as client:
        file = client.open("f")
        assert file.write(1_000, 0, 0) == 0
        assert file.write_piece(1_000, b"") == 0
        assert file.size() == 0


@check
def _0046(subject: Subject) -> None:
    """FILE0046 Pieces in the message say what the buffer says; more than 800 bytes are read as 800."""
    with subject.client() as client:
        file = client.open("f")
        assert file.write_piece(5, pattern(PIECE_BYTES)) == PIECE_BYTES
        assert client.read(file, 0, 2_000) == bytes(5) + pattern(PIECE_BYTES)
        assert file.read_piece(5, PIECE_BYTES) == pattern(PIECE_BYTES)
        assert len(file.read_piece(0, 5_000)) <= PIECE_BYTES


@check
def _0047(subject: Subject) -> None:
    """FILE0047 Bytes go to and come from the place in the buffer that is named, and no other."""
    with subject.client() as client:
        file = client.open("f")
        client.memory.write(0, b"." * 40)
        client.memory.write(10, b"abcde")
        file.write(0, 5, 10)
        assert file.read(0, 100, 20) == 5
        assert client.memory.read(0, 40) == b"." * 10 + b"abcde" + b"." * 5 + b"abcde" + b"." * 15


@check
def _0048(subject: Subject) -> None:
    """FILE0048 What is not all in the buffer is refused, for any numbers, and nothing is written."""
    with subject.client() as client:
        file = client.open("f")
        most = (1 << 64) - 1
        for length, at in (
            (1, BUFFER_BYTES),
            (BUFFER_BYTES + 1, 0),
            (2, BUFFER_BYTES - 1),
            (most, 0),
            (1, most),
            (most, most),
        ):
            refused(InvalidMessage, f"read {length} at {at}", lambda length=length, at=at: file.read(0, length, at))  # type: ignore[misc]
            refused(InvalidMessage, f"write {length} at {at}", lambda length=length, at=at: file.write(0, length, at))  # type: ignore[misc]
        assert file.size() == 0
        assert file.write(0, BUFFER_BYTES, 0) == BUFFER_BYTES


@check
def _0049(subject: Subject) -> None:
    """FILE0049 A big file is read as it was written, in large and in crooked pieces."""
    data = pattern(subject.big_bytes, 3)
    with subject.client() as client:
        client.put("big", data)
        assert client.directory.stat("big").size == len(data)
        assert client.get("big") == data
        file = client.open("big", READ)
        for offset in range(0, len(data), 77_777):
            length = min(30_011, len(data) - offset)
            assert client.read(file, offset, length) == data[offset : offset + length]


@check
def _0050(subject: Subject) -> None:
    """FILE0050 A big file is changed in many places, and is then what a model of it is."""
    model = bytearray(pattern(subject.big_bytes, 5))
    with subject.client() as client:
        client.put("big", bytes(model))
        file = client.open("big", BOTH)
        place = 12_345
        for number in range(40):
            place = (place * 7_919 + number) % len(model)
            piece = pattern(1 + place % 5_000, number)
            client.write(file, place, piece)
            model[place : place + len(piece)] = piece
        assert client.read(file, 0, len(model) + 1) == bytes(model)
        client.close(file)
        assert client.get("big") == bytes(model)


@check
def _0051(subject: Subject) -> None:
    """FILE0051 sync and closing keep what was written; a closed file is StaleHandle, and stays it."""
    with subject.client() as client:
        file = client.open("f")
        client.write(file, 0, b"kept")
        file.sync()
        file.close()
        for what, act in {"size": file.size, "close": file.close, "sync": file.sync}.items():
            refused(StaleHandle, what, act)
        refused(StaleHandle, "read", lambda: file.read(0, 1, 0))
        client.open("f")
        refused(StaleHandle, "read, with another open", lambda: file.read(0, 1, 0))
        assert client.get("f") == b"kept"


@check
def _0052(subject: Subject) -> None:
    """FILE0052 A file that is removed while it is open has no name any more; its handle goes on, or is StaleHandle."""
    with subject.client() as client:
        client.put("f", b"bytes")
        file = client.open("f", BOTH)
        client.directory.remove("f")
        assert client.directory.list("") == []
        try:
            assert client.read(file, 0, 10) == b"bytes"
            client.write(file, 5, b" more")
            assert client.read(file, 0, 20) == b"bytes more"
        except StaleHandle:
            pass
        client.put("f", b"another")
        assert client.get("f") == b"another"
        file.close()
        assert client.get("f") == b"another"


@check
def _0053(subject: Subject) -> None:
    """FILE0053 A file that is renamed while it is open is the same file: what is written then is under the new name."""
    with subject.client() as client:
        client.directory.make_directory("d")
        file = client.open("f")
        client.write(file, 0, b"one")
        client.directory.rename("f", "d/g")
        client.write(file, 3, b" two")
        assert client.get("d/g") == b"one two"
        client.directory.rename("d", "e")
        client.write(file, 7, b" three")
        client.close(file)
        assert client.get("e/g") == b"one two three"
        assert names(client.directory.list("")) == ["e"]


@check
def _0054(subject: Subject) -> None:
    """FILE0054 A rename over a file that is open leaves the new file under the name, whatever the old handle does."""
    with subject.client() as client:
        client.put("target", b"old")
        client.put("new", b"new")
        file = client.open("target", BOTH)
        client.directory.rename("new", "target")
        assert client.get("target") == b"new"
        try:
            assert client.read(file, 0, 10) == b"old"
            client.write(file, 0, b"OLD")
        except StaleHandle:
            pass
        file.close()
        assert client.get("target") == b"new"


@check
def _0055(subject: Subject) -> None:
    """FILE0055 File numbers do what capabilities do, and capability and number are one handle."""
    with subject.client() as client:
        directory = client.directory
        number, size, _ = directory.open_number("f", NEW)
        assert size == 0
        client.memory.write(0, b"hello")
        assert directory.write_number(number, 0, 5, 0) == 5
        assert directory.size_number(number) == 5
        directory.truncate_number(number, 4)
        directory.sync_number(number)
        assert directory.read_number(number, 1, 100, 50) == 3
        assert client.memory.read(50, 3) == b"ell"
        endpoint = directory.file(number)
        file = type(client.open("f"))(endpoint)
        assert file.read_piece(0, 10) == b"hell"
        directory.close_number(number)
        refused(StaleHandle, "the capability", file.size)
        refused(StaleHandle, "the number", lambda: directory.size_number(number))
        refused(StaleHandle, "a number that never was", lambda: directory.size_number(1 << 63))
        subject.task.delete(endpoint)


@check
def _0056(subject: Subject) -> None:
    """FILE0056 Writing and removing many times leaves the space that there was."""
    with subject.client() as client:
        client.put("f", pattern(subject.big_bytes))
        client.directory.remove("f")
        before = client.directory.space().free_blocks
        for seed in range(8):
            client.put("f", pattern(subject.big_bytes, seed))
            client.directory.rename("f", "g")
            client.directory.remove("g")
        lost = before - client.directory.space().free_blocks
        assert lost <= before // 10, f"{lost} of {before} blocks are lost"


@check
def _0057(subject: Subject) -> None:
    """FILE0057 Who was handed the capability of a file that was opened by number cannot close it for its giver."""
    with subject.client() as client:
        number, *_ = client.directory.open_number("f", NEW)
        endpoint = client.directory.file(number)
        file = File(endpoint)
        assert file.write_piece(0, b"hello") == 5
        assert file.try_lock(True)
        file.close()
        refused(StaleHandle, "the capability", file.size)
        assert client.directory.size_number(number) == 5
        other = client.open("f")
        assert not other.try_lock(False), "the lock went with the capability"
        again = client.directory.file(number)
        assert File(again).read_piece(0, 10) == b"hello"
        client.directory.close_number(number)
        refused(StaleHandle, "the other capability", File(again).size)
        assert other.try_lock(False)
        for each in (endpoint, again):
            subject.task.delete(each)
