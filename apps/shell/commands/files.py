"""Commands on files: the tree that the shell was given. Paths begin at its root, or at the current directory."""

from __future__ import annotations

import datetime
import errno
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import IO, Final

from apps.shell.command import command, number
from apps.shell.editor import edit
from apps.shell.session import CommandError, Session, absolute
from apps.shell.streams import chunks
from apps.shell.table import size, table
from libsel4py.files import Path
from libsel4py.interfaces.file import Kind, Stat

LINE_BYTES: Final = 16  # of hexdump
NANOSECONDS: Final = 10**9


@command("[PATH …]", "what is in a directory (the current one, if none is named)")
def run_ls(session: Session, arguments: list[str]) -> None:
    paths = [session.path(name) for name in arguments or ["."]]
    if len(paths) == 1:
        session.write(_listed(sorted(paths[0].iterdir()) if paths[0].is_dir() else paths))
        return
    folders = [path for path in paths if path.is_dir()]
    session.write(_listed([path for path in paths if path not in folders], whole=True))
    for folder in folders:
        session.write(f"{folder}:\n{_listed(sorted(folder.iterdir()))}")


def _listed(paths: list[Path], whole: bool = False) -> str:
    """A table of what is there, by names or by ``whole`` paths; nothing of nothing."""
    rows = []
    for each in paths:
        known = each.stat()
        is_directory = known.kind == Kind.DIRECTORY
        name = str(each) if whole else each.name
        rows.append((name + "/" * is_directory, "" if is_directory else known.size, _when(known)))
    return table(("name", "bytes", "modified"), rows) if rows else ""


@command("[PATH]", "go to a directory: paths begin there that do not begin with / (the root, if none is named)")
def run_cd(session: Session, arguments: list[str]) -> None:
    """`cd ..` goes to the directory above."""
    path = session.path(arguments[0] if arguments else "/")
    if path.stat().kind != Kind.DIRECTORY:
        raise CommandError(f"{path} is no directory")
    session.place.folder = absolute(path)


@command("", "the directory where paths begin")
def run_pwd(session: Session, arguments: list[str]) -> None:
    session.write(f"{session.place.folder}\n")


@command("[PATH …]", "put out files, one after the other, or the input")
def run_cat(session: Session, arguments: list[str]) -> None:
    for name in arguments or [""]:
        with _streamed(session, name) as source:
            for piece in chunks(source):
                session.send(piece)


@command("FROM [FROM …] TO", "copy files, and directories with all that is in them; to a directory, into it")
def run_cp(session: Session, arguments: list[str]) -> None:
    for source, target in _pairs(session, arguments):
        if absolute(source) == absolute(target):
            raise CommandError(f"{target} is the file itself")
        _copy(source, target)


def _pairs(session: Session, arguments: list[str]) -> Iterator[tuple[Path, Path]]:
    """Each that is named before the last, with where it goes."""
    *names, last = arguments
    target = session.path(last)
    is_folder = target.is_dir()
    if len(names) > 1 and not is_folder:
        raise CommandError(f"{target} is no directory, and only one can go by that name")
    for name in names:
        source = session.path(name)
        if is_folder and not source.name:
            raise CommandError("the root goes into no directory")
        yield source, target / source.name if is_folder else target


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        _copy_all(source, target)
        return
    with source.open("rb") as reader, target.open("wb") as writer:
        for piece in chunks(reader):
            writer.write(piece)


def _copy_all(source: Path, target: Path) -> None:
    """What is in the target already and not in the source stays."""
    if f"{absolute(target)}/".startswith(f"{absolute(source)}/".replace("//", "/")):
        raise CommandError(f"{target} is in {source} itself: a copy of it would have no end")
    target.mkdir(exist_ok=True)
    for each in list(source.iterdir()):
        _copy(each, target / each.name)


@command(
    "FROM [FROM …] TO",
    "rename, or move into a directory; a file at TO is replaced, at once if it is on the same file system",
)
def run_mv(session: Session, arguments: list[str]) -> None:
    for source, target in _pairs(session, arguments):
        try:
            source.replace(target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            _copy(source, target)
            target.files.sync()  # it is there before the other one goes
            _remove(source, with_all=True)


@command("[-r] PATH [PATH …]", "remove files and empty directories; with -r directories with all that is in them")
def run_rm(session: Session, arguments: list[str]) -> None:
    names = arguments[1:] if arguments[0] == "-r" else arguments
    if not names:
        raise CommandError("rm -r: name a directory; ls lists them")
    paths = [session.path(name) for name in names]
    if any(absolute(path) == "/" for path in paths):
        raise CommandError("the root stays")
    for path in paths:
        _remove(path, with_all=names is not arguments)


def _remove(path: Path, with_all: bool) -> None:
    if not path.is_dir():
        path.unlink()
        return
    if with_all:
        for each in list(path.iterdir()):
            _remove(each, with_all)
    path.rmdir()


@command("PATH [PATH …]", "make directories")
def run_mkdir(session: Session, arguments: list[str]) -> None:
    for name in arguments:
        session.path(name).mkdir()


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
    path = session.path(arguments[0])
    known = path.stat()
    kind = "directory" if known.kind == Kind.DIRECTORY else "file"
    session.write(f"{path}: {kind}, {known.size} bytes, modified {_when(known)}\n")


@command("PATH [TEXT …]", "make a file of a line of text, or of the input")
def run_write(session: Session, arguments: list[str]) -> None:
    """The file has its former contents until all of the new ones are there. What is typed ends with Ctrl-D."""
    path, *words = arguments
    data = f"{' '.join(words)}\n".encode() if words else b"".join(chunks(session.read()))
    session.files.replace_file(session.path(path), data)


@command("PATH", "change a text file, line by line")
def run_edit(session: Session, arguments: list[str]) -> None:
    """Inside of it, h lists what can be done."""
    edit(session, session.path(arguments[0]))


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
    with session.path(path).open("rb") as file:
        yield file


def _when(known: Stat) -> str:
    if not known.modified_ns:
        return "-"
    moment = datetime.datetime.fromtimestamp(known.modified_ns // NANOSECONDS, datetime.UTC)
    return f"{moment:%Y-%m-%d %H:%M:%S}"
