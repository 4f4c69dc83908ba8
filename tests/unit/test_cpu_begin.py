"""What a forked process becomes by `begin`, and that a process's memory can be hidden."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import signal
import struct
import subprocess
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
    another = os.getpid() + 1  # whoever that is, it is not who forks the child
    ready = beginning(tmp_path, another, 0, 0, 0)
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


@pytest.mark.skipif(not cpu.sandbox_layers().landlock, reason="this host has no Landlock")
def test_with_rules_nothing_else_can_be_opened(tmp_path: Path) -> None:
    """Each denied thing is done before, too: so it is the rules that deny it."""
    given, other, logs = tmp_path / "given", tmp_path / "other", tmp_path / "logs"
    for folder in (given, other, logs):
        folder.mkdir()
        (folder / "file").write_text("text")
    os.link(other / "file", given / "hard link")
    (given / "link").symlink_to(other / "file")
    single = tmp_path / "single"
    single.write_text("text")
    allowed: dict[str, Callable[[], object]] = {
        "read": (given / "file").read_text,
        "read what has a name there": (given / "hard link").read_text,
        "list": lambda: os.listdir(given),
        "read one file": single.read_text,
    }
    denied: dict[str, Callable[[], object]] = {
        "read by the other name": (other / "file").read_text,
        "read by a link": (given / "link").read_text,
        "list": lambda: os.listdir(other),
        "list the folder above": lambda: os.listdir(tmp_path),
        "read oneself": Path("/proc/self/status").read_text,
        "read what one was started with": Path(f"/proc/{os.getpid()}/stat").read_text,
        "write": lambda: (given / "file").write_text("text"),
        "write one file": lambda: single.write_text("text"),
        "make": lambda: (given / "new").touch(),
        "remove": (given / "spare").unlink,
        "make a folder": lambda: (given / "folder").mkdir(),
        "remove a folder": (given / "empty").rmdir,
        "run": lambda: subprocess.run(["/bin/true"], check=True),
    }
    descriptors = [memory(b"x") for _ in range(3)]
    rules = cpu.file_rules([str(given), str(single), str(tmp_path / "nowhere")])
    log = os.open(logs, os.O_RDONLY | os.O_DIRECTORY)
    ready = cpu.Beginning.pack(os.getpid(), "x", log, "task.log", descriptors, (), rules)

    def make_spare() -> None:
        (given / "spare").touch()
        (given / "empty").mkdir()

    def work() -> None:
        make_spare()
        for attempt in (*allowed.values(), *denied.values()):
            attempt()
        (given / "new").unlink()
        (given / "folder").rmdir()
        make_spare()
        cpu.begin(ready)
        worked = []
        for name, attempt in denied.items():
            with contextlib.suppress(PermissionError):
                attempt()
                worked.append(name)
        for attempt in allowed.values():
            attempt()
        left = [number for number in range(6, 64) if _is_open(number)]
        cpu.enter_sandbox(64 << 20)
        os.write(1, repr((worked, len(left), [number for number in left if _is_open(number)])).encode())

    try:
        assert in_child(work) == 0
        assert (logs / "task.log").read_text() == repr(([], 1, []))
    finally:
        for descriptor in (*descriptors, rules, log):
            os.close(descriptor)


def test_rules_name_the_path_that_the_host_refused(tmp_path: Path) -> None:
    if not cpu.sandbox_layers().landlock:
        assert cpu.file_rules([]) == -1
        return
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with pytest.raises(OSError, match="loop") as refused:
        cpu.file_rules([str(loop)])
    assert refused.value.errno == errno.ELOOP
