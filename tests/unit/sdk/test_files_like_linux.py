"""Files for programs beside files of the host: the same random calls give the same results, errors and contents."""

from __future__ import annotations

import random
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import pytest

from libsel4py.files import Files
from libsel4py.testing import connect, system
from servers.ramfs.main import Main

MODES = ["r", "w", "a", "x", "r+", "w+", "a+", "x+"]
PLACES = [0, 1, 5, 511, 512, 513, 4095, 4096, 65535, 65536, 65537, 70000, 200_000]
TEXTS = ["", "a", "é\n", "x\r\ny\n", "日本\n" * 50, "a line\n" * 3]


@pytest.fixture(scope="module")
def files() -> Iterator[Files]:
    with (
        system() as made,
        connect(Main, configuration={"bytes": 64 << 20}) as directory,
        Files(directory, made.first_task, buffer_bytes=16 << 10) as files,
    ):
        yield files


def outcome(act: Callable[[IO[Any]], object], file: IO[Any]) -> object:
    """What it returns, or its error: all `OSError`s but those with a class of their own are told apart by number."""
    try:
        return act(file)
    except OSError as error:
        return isinstance(error, ValueError) or (type(error), error.errno)  # io.UnsupportedOperation has no number
    except (ValueError, OverflowError, TypeError) as error:
        return type(error)


def into(file: IO[Any], length: int) -> tuple[int, bytes]:
    target = bytearray(length)
    return file.readinto(target), bytes(target)  # type: ignore[attr-defined]  # of a binary file


def binary_step(source: random.Random) -> Callable[[IO[Any]], object]:
    data = bytes([source.randrange(256)]) * source.choice([0, 1, 10, 100, 5000, 70_000])
    length, place = source.choice([-1, 0, 1, 10, 5000, 100_000]), source.choice(PLACES)
    offset = source.choice([-1_000_000, -1000, -5, 0, 5, 1000])
    return source.choice(
        [
            lambda file: file.write(data),
            lambda file: file.read(length),
            lambda file: into(file, abs(length)),
            lambda file: file.seek(place),
            lambda file: file.seek(-place),
            lambda file: file.seek(offset, 1),
            lambda file: file.seek(offset, 2),
            lambda file: file.seek(0, 7),
            lambda file: file.tell(),
            lambda file: file.truncate(),
            lambda file: file.truncate(place),
            lambda file: file.truncate(-1),
            lambda file: file.truncate(1 << 64),
            lambda file: file.seek(1 << 64),
            lambda file: file.readline(),
            lambda file: file.flush(),
            lambda file: file.writelines([data[:5], data[:7]]),
            lambda file: (file.readable(), file.writable(), file.closed, file.isatty(), file.mode),
        ]
    )


def text_step(source: random.Random) -> Callable[[IO[Any]], object]:
    text, length = source.choice(TEXTS), source.randrange(50)
    return source.choice(
        [
            lambda file: file.write(text),
            lambda file: file.read(),
            lambda file: file.read(length),
            lambda file: file.readline(),
            lambda file: file.readlines(),
            lambda file: file.seek(0),
            lambda file: file.seek(0, 1),
            lambda file: file.seek(3, 1),
            lambda file: file.seek(0, 2),
            lambda file: file.seek(-1),
            lambda file: file.tell(),
            lambda file: file.truncate(),
            lambda file: file.flush(),
            lambda file: (file.readable(), file.writable(), file.mode, file.encoding),
        ]
    )


def open_both(
    source: random.Random, files: Files, folder: Path, name: str, is_text: bool
) -> tuple[IO[Any], IO[Any], list[Callable[[IO[Any]], object]]]:
    """The host's, ours, and what is to be done with both."""
    mode = source.choice(MODES)
    if "x" not in mode:
        data = "init\nlé\r\nx\n".encode() * source.choice([0, 1, 300])
        (folder / name).write_bytes(data)
        files.path(name).write_bytes(data)
    if is_text:
        newline = source.choice([None, "", "\n", "\r\n"])
        steps = [text_step(source) for _ in range(20)]
        arguments = (mode, 512, "utf-8", None, newline)
    else:
        steps = [binary_step(source) for _ in range(20)]
        arguments = (f"{mode}b", source.choice([0, 512]), None, None, None)
    return (folder / name).open(*arguments), files.open(name, *arguments), steps


@pytest.mark.parametrize("is_text", [False, True])
def test_random_calls_do_what_they_do_with_a_file_of_the_host(files: Files, tmp_path: Path, is_text: bool) -> None:
    for seed in range(120):
        name = f"f{seed}"
        host, ours, steps = open_both(random.Random(seed), files, tmp_path, name, is_text)
        with host, ours:
            for number, step in enumerate(steps):
                assert outcome(step, ours) == outcome(step, host), f"seed {seed}, step {number}"
        assert files.path(name).read_bytes() == (tmp_path / name).read_bytes(), f"seed {seed}"
        files.remove(name)


def test_a_file_that_is_too_short_for_an_archive_is_none(files: Files) -> None:
    """`zipfile` looks 22 bytes before the end, and takes an OSError there for the answer no."""
    files.path("short").write_bytes(b"PK")
    with files.open("short", "rb") as file:
        assert not zipfile.is_zipfile(file)
