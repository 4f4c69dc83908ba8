"""Commands on files: the tree that the shell was given. Paths begin at its root, with or without ``/``."""

from __future__ import annotations

import datetime
import errno
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import IO, Final

from apps.shell.command import command, number
from apps.shell.editor import edit
from apps.shell.session import CommandError, Session
from apps.shell.streams import chunks
from apps.shell.table import size, table
from libsel4py.files import Path
from libsel4py.interfaces.file import Kind, Stat

LINE_BYTES: Final = 16  # of hexdump
NANOSECONDS: Final = 10**9


@command("[PATH]", "what is in a directory (the root, if none is named)")
def run_ls(session: Session, arguments: list[str]) -> None:
    path = session.files.path(arguments[0] if arguments else "/")
    found = [path] if not path.is_dir() else sorted(path.iterdir(), key=lambda each: each.name)
    rows = []
    for each in found:
        known = each.stat()
        is_directory = known.kind == Kind.DIRECTORY
        rows.append((each.name + "/" * is_directory, "" if is_directory else known.size, _when(known)))
    session.write(table(("name", "bytes", "modified"), rows) if rows else "")


@command("[PATH …]", "put out files, one after the other, or the input")
def run_cat(session: Session, arguments: list[str]) -> None:
    for name in arguments or [""]:
        with _streamed(session, name) as source:
            for piece in chunks(source):
                session.send(piece)


@command("FROM TO", "copy a file, or a file into a directory")
def run_cp(session: Session, arguments: list[str]) -> None:
    source, target = session.files.path(arguments[0]), session.files.path(arguments[1])
    if target.is_dir():
        target = target / source.name
    if session.is_same(str(source), str(target)):
        raise CommandError(f"{target} is the file itself")
    _copy(source, target)


def _copy(source: Path, target: Path) -> None:
    with source.open("rb") as reader, target.open("wb") as writer:
        for piece in chunks(reader):
            writer.write(piece)


@command(
    "FROM TO", "rename, or move into a directory; a file at TO is replaced, at once if it is on the same file system"
)
def run_mv(session: Session, arguments: list[str]) -> None:
    source, target = session.files.path(arguments[0]), session.files.path(arguments[1])
    if target.is_dir():
        target = target / source.name
    try:
        source.replace(target)
    except OSError as error:
        if error.errno != errno.EXDEV or source.is_dir():
            raise
        _copy(source, target)
        target.files.sync()  # it is there before the other one goes
        source.unlink()


@command("PATH [PATH …]", "remove files and empty directories")
def run_rm(session: Session, arguments: list[str]) -> None:
    for name in arguments:
        path = session.files.path(name)
        if path.is_dir():
            path.rmdir()
        else:
            path.unlink()


@command("PATH [PATH …]", "make directories")
def run_mkdir(session: Session, arguments: list[str]) -> None:
    for name in arguments:
        session.files.path(name).mkdir()


@command("", "how much room there is in each file system")
def run_df(session: Session, arguments: list[str]) -> None:
    rows = []
    for mount in session.mounts():
        space = session.files.space(mount)
        whole, free = space.blocks * space.block_bytes, space.free_blocks * space.block_bytes
        rows.append((size(whole), size(whole - free), size(free), mount))
    session.write(table(("size", "used", "free", "mounted at"), rows))


@command("PATH", "what is known of a file")
def run_stat(session: Session, arguments: list[str]) -> None:
    path = session.files.path(arguments[0])
    known = path.stat()
    kind = "directory" if known.kind == Kind.DIRECTORY else "file"
    session.write(f"{path}: {kind}, {known.size} bytes, modified {_when(known)}\n")


@command("PATH [TEXT …]", "make a file of a line of text, or of the input")
def run_write(session: Session, arguments: list[str]) -> None:
    """The file has its former contents until all of the new ones are there. What is typed ends with Ctrl-D."""
    path, *words = arguments
    data = f"{' '.join(words)}\n".encode() if words else b"".join(chunks(session.read()))
    session.files.replace_file(path, data)


@command("PATH", "change a text file, line by line")
def run_edit(session: Session, arguments: list[str]) -> None:
    """Inside of it, h lists what can be done."""
    edit(session, session.files.path(arguments[0]))


@command("[PATH]", "a file's bytes, or the input's, in hexadecimal and as text")
def run_hexdump(session: Session, arguments: list[str]) -> None:
    at = 0
    with _streamed(session, arguments[0] if arguments else "") as source:
        while row := source.read(LINE_BYTES):
            text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
            session.write(f"{at:08x}  {row.hex(' '):{3 * LINE_BYTES - 1}}  |{text}|\n")
            at += len(row)
    session.write(f"{at:08x}\n")


@command("TEXT [PATH]", "the lines of a file, or of the input, that have a text in them")
def run_grep(session: Session, arguments: list[str]) -> None:
    wanted = arguments[0].encode()
    with _streamed(session, arguments[1] if arguments[1:] else "") as source:
        for line in source:
            if wanted in line:
                session.send(line)


@command("[LINES] [PATH]", "the first lines (10) of a file, or of the input")
def run_head(session: Session, arguments: list[str]) -> None:
    words = list(arguments)
    count = number(words.pop(0), 1, 10**6, "the number of lines") if words and words[0].isdigit() else 10
    with _source(session, words[0] if words else "") as source:
        for _, line in zip(range(count), source, strict=False):
            session.send(line)


@command("[PATH]", "how many lines, words and bytes a file has, or the input")
def run_wc(session: Session, arguments: list[str]) -> None:
    lines = words = count = 0
    with _source(session, arguments[0] if arguments else "") as source:
        for line in source:
            lines, words, count = lines + line.endswith(b"\n"), words + len(line.split()), count + len(line)
    session.write(f"{lines} lines, {words} words, {count} bytes\n")


def _streamed(session: Session, path: str) -> AbstractContextManager[IO[bytes]]:
    """As `_source`, for who writes while there is more to read: a file that is its own output would never end."""
    if path and session.target and session.is_same(path, session.target):
        raise CommandError(f"{path} is the output itself")
    return _source(session, path)


@contextmanager
def _source(session: Session, path: str) -> Iterator[IO[bytes]]:
    """The file, or the command's input if the path is empty, which is not closed."""
    if not path:
        yield session.read()
        return
    with session.files.open(path, "rb") as file:
        yield file


def _when(known: Stat) -> str:
    if not known.modified_ns:
        return "-"
    moment = datetime.datetime.fromtimestamp(known.modified_ns // NANOSECONDS, datetime.UTC)
    return f"{moment:%Y-%m-%d %H:%M:%S}"
