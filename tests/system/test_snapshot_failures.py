"""What happens to a system and its file when suspending is killed, or finds no room: all of it, or nothing."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
from pathlib import Path

import pytest

from deploy.management import Management, NotAnswering
from deploy.snapshots import open_snapshot
from hw.machine import create_ram
from kerneld.host.snapshot_format import copy_ram
from tests.system.supervisor import Supervisor
from tests.system.test_snapshot import up

pytestmark = pytest.mark.slow
BEHIND = 100  # bytes of the trailer that are written


def ensure_whole(file: Path) -> int:
    """To its last byte. Returns RAM's size."""
    descriptor, trailer = open_snapshot(file)
    ram = create_ram(trailer.ram_bytes, "test")
    try:
        copy_ram(descriptor, trailer, ram)
    finally:
        os.close(ram)
        os.close(descriptor)
    return trailer.ram_bytes


def suspend_until(sel4py: Supervisor, file: Path, moment: Path) -> subprocess.Popen[bytes]:
    """The command, when this file has appeared, as far as that was seen before all was done."""
    command = sel4py.start("suspend", file)
    while not moment.exists() and command.poll() is None:
        continue
    assert moment.exists() or file.exists(), command.communicate()
    return command


def kernel(sel4py: Supervisor) -> int:
    with Management(sel4py.folder / "lasting") as management:
        return int(management.request("status")["pid"])  # type: ignore[call-overload, index]  # a table


def goes_on(sel4py: Supervisor) -> bool:
    """Whether the system has a kernel again, or ends."""
    if all(row["name"] != "lasting" for row in sel4py.rows("systems")):
        return False
    try:
        kernel(sel4py)
    except NotAnswering:
        sel4py.wait_ended("lasting")
        return False
    return True


def ensure_goes_on(sel4py: Supervisor, file: Path) -> None:
    """The client of the system checks all that it gets, in its next life too."""
    sel4py.ok("suspend", file)
    assert not file.with_name("file.part").exists()
    ended = sel4py.run("resume", file)
    assert ended.status == 0, ended


def test_the_command_is_killed(sel4py: Supervisor, tmp_path: Path) -> None:
    """The kernel does all of it: the system ends, and the file is whole."""
    file = tmp_path / "file"
    up(sel4py, tmp_path, 2)
    command = suspend_until(sel4py, file, tmp_path / "file.part")
    command.kill()
    command.wait()
    sel4py.wait_ended("lasting")
    ensure_whole(file)
    ended = sel4py.run("resume", file)
    assert ended.status == 0, ended


@pytest.mark.parametrize("moment", ["file.part", "file"])
def test_the_kernel_is_killed(sel4py: Supervisor, tmp_path: Path, moment: str) -> None:
    """The next one lets the tasks go on; where the first one was done, the system has ended."""
    file = tmp_path / "file"
    up(sel4py, tmp_path, 2)
    pidfd = os.pidfd_open(kernel(sel4py))
    command = suspend_until(sel4py, file, tmp_path / moment)
    with contextlib.suppress(ProcessLookupError):  # it was done
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    os.close(pidfd)
    _, error = command.communicate()
    if file.exists():
        ensure_whole(file)
    else:
        assert moment == "file.part"
        assert command.returncode, error
    if goes_on(sel4py):
        ensure_goes_on(sel4py, file)
    else:
        ended = sel4py.run("resume", file)
        assert ended.status == 0, ended


def test_there_is_no_room(sel4py: Supervisor, tmp_path: Path) -> None:
    """Neither for RAM, nor for what stands behind it; what stood there before is as it was."""
    file = tmp_path / "file"
    up(sel4py, tmp_path, 2)
    sel4py.ok("suspend", file, "--keep-running")
    before = file.stat()
    ram_bytes = ensure_whole(file)
    image = tmp_path / "image"
    sel4py.ok("image", image)
    saved = image.stat()
    pid = kernel(sel4py)
    former = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (ram_bytes // 2, former[1]))
    assert sel4py.run("image", image).status
    assert (image.stat().st_ino, image.stat().st_mtime_ns) == (saved.st_ino, saved.st_mtime_ns)
    assert not (tmp_path / "image.part").exists()
    for room in (ram_bytes // 2, ram_bytes + BEHIND):
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (room, former[1]))
        refused = sel4py.run("suspend", file)
        assert refused.status, refused
        assert "the system goes on" in refused.error, refused
        assert not (tmp_path / "file.part").exists()
    resource.prlimit(pid, resource.RLIMIT_FSIZE, former)
    assert (file.stat().st_ino, file.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    ensure_whole(file)
    ensure_goes_on(sel4py, file)
