"""What a forked process becomes by `begin`, and that a process's memory can be hidden."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from hw import cpu
from libsel4py.abi import Rights

ADDRESS = 0x7000_0000_0000
PAGE = 4096
PR_GET_DUMPABLE = 3


def in_child(work: Callable[[], None]) -> int:
    """The exit code of a forked process that does this; 99 if it raised."""
    pid = os.fork()
    if pid == 0:
        status = 99
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def beginning(
    folder: Path, parent: int, *descriptors: int, maps: tuple[tuple[int, int, int], ...] = ()
) -> cpu.Beginning:
    log = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    return cpu.Beginning.pack(parent, "a name\0that is too long", log, "task.log", descriptors, maps)


def memory(text: bytes) -> int:
    descriptor = os.memfd_create("memory")
    os.pwrite(descriptor, text.ljust(PAGE, b"\0"), 0)
    return descriptor


def test_descriptors_log_name_and_maps(tmp_path: Path) -> None:
    files = [memory(b"%d" % number) for number in range(5)]
    # The own ones stand where the new numbers are, in another order, so that each could overwrite another.
    order = sorted(files, reverse=True)
    maps = ((ADDRESS, PAGE, Rights.READ), (ADDRESS + PAGE, PAGE, Rights.READ | Rights.WRITE))
    ready = beginning(tmp_path, os.getpid(), *order, maps=maps)

    def work() -> None:
        cpu.begin(ready)
        ctypes.memset(ADDRESS + PAGE, ord("w"), 1)
        seen = [os.pread(descriptor, 1, 0) for descriptor in (3, 4, 5)] + [ctypes.string_at(ADDRESS, 1)]
        left = [number for number in range(6, 256) if _is_open(number)]
        name = Path("/proc/self/comm").read_text().strip()
        os.write(1, repr((seen, left, name, os.getsid(0) == os.getpid())).encode())

    try:
        expected = [os.pread(descriptor, 1, 0) for descriptor in order]
        assert in_child(work) == 0
        assert (tmp_path / "task.log").read_text() == repr((expected[:4], [], "a name?that is", True))
        assert os.pread(order[4], 1, 0) == b"w"
    finally:
        for descriptor in (*files, ready.log_folder):
            os.close(descriptor)


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def test_an_orphan_does_not_begin(tmp_path: Path) -> None:
    ready = beginning(tmp_path, 1, 0, 0, 0)
    assert in_child(lambda: cpu.begin(ready)) == 128 + signal.SIGKILL
    os.close(ready.log_folder)
    assert not (tmp_path / "task.log").exists()


def test_signals_that_were_ignored_end_it_again(tmp_path: Path) -> None:
    ready = beginning(tmp_path, os.getpid(), 0, 0, 0)

    def work() -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        cpu.begin(ready)
        os.kill(os.getpid(), signal.SIGTERM)

    assert in_child(work) == -signal.SIGTERM
    os.close(ready.log_folder)


@pytest.mark.parametrize("count", [0, 2, 4])
def test_descriptors_and_maps_must_agree(tmp_path: Path, count: int) -> None:
    ready = beginning(tmp_path, os.getpid(), *[0] * count)
    with pytest.raises(ValueError, match="one for each map"):
        cpu.begin(ready)
    os.close(ready.log_folder)


def test_a_taken_address_is_refused(tmp_path: Path) -> None:
    shared = memory(b"x")
    taken = id(shared) & -PAGE
    ready = beginning(tmp_path, os.getpid(), 0, 0, 0, shared, maps=((taken, PAGE, Rights.READ),))

    def work() -> None:
        try:
            cpu.begin(ready)
        except OSError as error:
            os._exit(error.errno or 0)

    assert in_child(work) == errno.EEXIST
    for descriptor in (shared, ready.log_folder):
        os.close(descriptor)


def test_memory_is_hidden_from_then_on_and_in_forks() -> None:
    prctl = ctypes.CDLL(None).prctl

    def work() -> None:
        assert prctl(PR_GET_DUMPABLE) == 1
        cpu.hide_memory()
        assert prctl(PR_GET_DUMPABLE) == 0
        assert in_child(lambda: None if prctl(PR_GET_DUMPABLE) == 0 else os._exit(1)) == 0
        assert os.stat("/proc/self/mem").st_uid == 0

    assert in_child(work) == 0


def test_a_map_that_is_no_three_words_is_refused() -> None:
    with pytest.raises(struct.error):
        cpu.Beginning.pack(1, "x", 0, "x", (0, 0, 0, 0), ((-1, 0, 0),))
