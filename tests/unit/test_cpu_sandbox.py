"""The sandbox's first layer: what is denied, that ordinary Python goes on, and that limits hold.

Each denied thing is tried twice, in the same forked process: before, where it must not fail with the sandbox's error
(or the test could not fail), and after.
"""

import ctypes
import errno
import fcntl
import mmap
import os
import platform
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hw import cpu
from libsel4py import abi
from tests.unit.cpu_peer import Peer, running, serve_echo

LIBC = ctypes.CDLL(None, use_errno=True)
X86 = platform.machine() == "x86_64"
MEBIBYTE = 1 << 20
CALL, RECV = abi.Syscall.CALL, abi.Syscall.RECV


def host_call(number: int, *arguments: Any) -> int:
    """A raw host system call; raises OSError."""
    result = LIBC.syscall(ctypes.c_long(number), *[ctypes.c_long(argument) for argument in arguments])
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return int(result)


def spawn() -> None:
    os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)


def fork() -> None:
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)


def seal() -> None:
    fcntl.fcntl(MEMORY, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW)


MEMORY = os.memfd_create("memory", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)

DENIED: dict[str, Callable[[], Any]] = {
    "socket": lambda: socket.socket().close(),
    "socketpair": lambda: [end.close() for end in socket.socketpair()],
    "connect": lambda: PAIR[0].connect(b"\0nobody"),
    "send": lambda: PAIR[0].send(b"x"),
    "sendmsg": lambda: PAIR[0].sendmsg([b"x"]),
    "receive": lambda: PAIR[0].recv(1, socket.MSG_DONTWAIT),
    "receive descriptors": lambda: PAIR[0].recvmsg(1, 64, socket.MSG_DONTWAIT),
    "fork": fork,
    "spawn": spawn,
    "run": lambda: subprocess.run(["/bin/true"], check=True),
    "exec": lambda: os.execv("/nowhere/at/all", ["x"]),
    "kill oneself": lambda: os.kill(os.getpid(), 0),
    "kill the parent": lambda: os.kill(os.getppid(), 0),
    "pidfd": lambda: os.close(os.pidfd_open(os.getpid())),
    "open to write": lambda: os.close(os.open("/dev/null", os.O_WRONLY)),
    "open to read and write": lambda: os.close(os.open("/dev/null", os.O_RDWR)),
    "create": lambda: open("/dev/null", "w").close(),
    "append": lambda: open("/dev/null", "a").close(),
    "own memory file": lambda: open("/proc/self/mem", "r+b").close(),
    "remove": lambda: os.unlink("/nowhere/at/all"),
    "rename": lambda: os.rename("/nowhere/at/all", "/nowhere/else"),
    "make a directory": lambda: os.mkdir("/nowhere/at/all"),
    "make a link": lambda: os.symlink("/nowhere", "/nowhere/at/all"),
    "change a mode": lambda: os.fchmod(MEMORY, 0o600),
    "truncate": lambda: os.ftruncate(MEMORY, 8192),
    "allocate": lambda: os.posix_fallocate(MEMORY, 0, 4096),
    "memfd": lambda: os.close(os.memfd_create("x")),
    "seal": seal,
    "priority": lambda: os.setpriority(os.PRIO_PROCESS, 0, os.getpriority(os.PRIO_PROCESS, 0)),
    "affinity": lambda: os.sched_setaffinity(0, os.sched_getaffinity(0)),
    "session": lambda: os.setpgid(0, 0),
    "handler of the park signal": lambda: signal.signal(signal.SIGURG, signal.SIG_IGN),
    "dumpable": lambda: prctl(4, 1),
    "no death signal": lambda: prctl(1, 0),
}
PAIR = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)


def prctl(option: int, value: int) -> None:
    if LIBC.prctl(option, value, 0, 0, 0) < 0:
        raise OSError(ctypes.get_errno(), "prctl")


# By number, for what Python has no name for; arguments that a permitted call would refuse otherwise, or harmless ones.
NUMBERS: dict[str, tuple[int, ...]] = {
    "ptrace": (101, 999),
    "process_vm_readv": (310, 0, 0, 0, 0, 0, 0),
    "process_vm_writev": (311, 0, 0, 0, 0, 0, 0),
    "tgkill of another process": (234, 1, 1, 0),
    "rt_sigqueueinfo": (129, 0, 0, 0),
    "pidfd_getfd": (438, -1, 0, 0),
    "io_uring_setup": (425, 0, 0),
    "userfaultfd": (323, 0xFFFF),
    "bpf": (321, 999, 0, 0),
    "perf_event_open": (298, 0, 0, 0, 0, 0),
    "keyctl": (250, 999),
    "mount": (165, 0, 0, 0, 0, 0),
    "unshare": (272, 0),
    "setns": (308, -1, 0),
    "mremap": (25, 0, 0, 0, 0, 0),
    "prlimit64 that sets": (302, 0, resource.RLIMIT_NOFILE, 8, 0),
    "prlimit64 of another process": (302, 999_999, resource.RLIMIT_NOFILE, 0, 0),
    "shmget": (29, 0, 0, 0),
    "capset": (126, 0, 0),
    "chroot": (161, 0),
    "creat": (85, 0, 0),
    "clone of a process": (56, 0x10000000, 0, 0, 0, 0),
}


def tried(attempt: Callable[[], Any]) -> int:
    """The errno that it ended with; 0 if it worked."""
    try:
        attempt()
    except OSError as error:
        return error.errno or -1
    return 0


def before_and_after(attempt: Callable[[], Any], first: bool = True) -> tuple[int, int]:
    before = tried(attempt) if first else 0
    cpu.enter_sandbox()
    return before, tried(attempt)


@pytest.mark.parametrize("name", DENIED)
def test_it_is_denied(name: str) -> None:
    with running(lambda: before_and_after(DENIED[name])) as (_, task):
        before, after = task.result()
        assert before != errno.EPERM
        assert after == errno.EPERM


@pytest.mark.skipif(not X86, reason="the numbers are x86_64's")
@pytest.mark.parametrize("name", NUMBERS)
def test_it_is_denied_by_number(name: str) -> None:
    number, *arguments = NUMBERS[name]
    needs_root = os.geteuid() != 0 and name in ("mount", "chroot", "bpf", "perf_event_open", "setns")
    wild = name == "clone of a process"
    with running(lambda: before_and_after(lambda: host_call(number, *arguments), not wild)) as (_, task):
        before, after = task.result()
        assert before != errno.EPERM or needs_root or name == "tgkill of another process"
        assert after == errno.EPERM


@pytest.mark.skipif(not X86, reason="the numbers are x86_64's")
@pytest.mark.parametrize(("number", "error"), [(435, errno.ENOSYS), (437, errno.ENOSYS), (1000, errno.ENOSYS)])
def test_clone3_openat2_and_the_future_do_not_exist(number: int, error: int) -> None:
    with running(lambda: before_and_after(lambda: host_call(number, 0, 0, 0), number < 1000)) as (_, task):
        before, after = task.result()
        assert before != error
        assert after == error


@pytest.mark.skipif(not X86, reason="x32 is x86_64's")
def test_the_x32_convention_is_no_way_round() -> None:
    with running(lambda: before_and_after(lambda: host_call(0x40000000 | 39))) as (_, task):
        before, after = task.result()
        assert before != errno.EPERM
        assert after == errno.EPERM


@pytest.mark.skipif(not X86, reason="32-bit calls are x86_64's")
def test_the_32_bit_convention_ends_the_process() -> None:
    code = bytes.fromhex("53b814000000cd805bc3")  # push rbx; mov eax, 20 (getpid); int 0x80; pop rbx; ret

    def enter_and_call() -> None:
        page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        page.write(code)
        call = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
        cpu.enter_sandbox()
        call()

    with running(enter_and_call) as (_, task):
        assert os.WTERMSIG(task.reap()) == signal.SIGSYS


def ordinary_python() -> dict[str, Any]:
    """What a task may go on doing."""
    import decimal
    import gc
    import io
    import tempfile
    import threading
    import time
    import traceback
    import zoneinfo

    done: dict[str, Any] = {}
    garbage: list[Any] = []
    garbage.append(garbage)
    del garbage
    done["gc"] = gc.collect() > 0
    thread = threading.Thread(target=lambda: done.setdefault("thread", True))
    thread.start()
    thread.join()
    try:
        decimal.Decimal("x")
    except decimal.InvalidOperation:
        done["traceback"] = (
            "test_cpu_sandbox.py" in traceback.format_exc() and "decimal.Decimal" in traceback.format_exc()
        )
    with open(__file__) as own_source:
        done["read"] = len(own_source.read()) > 100
    done["import"] = bool(zoneinfo.__name__ and __import__("colorsys"))
    done["big memory"] = sum(bytearray(8 * MEBIBYTE)) == 0
    grown = io.BytesIO()
    for _ in range(64):
        grown.write(bytes(MEBIBYTE // 4))
    done["growing memory"] = len(grown.getvalue()) == 16 * MEBIBYTE
    read_end, write_end = os.pipe()
    os.write(write_end, b"x")
    done["pipe"] = os.read(read_end, 1) == b"x"
    time.sleep(0)
    done["clock"] = time.monotonic() > 0 and time.time() > 0
    done["random"] = len(os.urandom(8)) == 8
    done["stderr"] = sys.stderr.write("") == 0
    done["tempfile"] = bool(tempfile.gettempprefix())
    signal.signal(signal.SIGUSR1, lambda *_: done.setdefault("own signal", True))
    signal.raise_signal(signal.SIGUSR1)
    return done


def test_ordinary_python_goes_on() -> None:
    def enter_and_live() -> dict[str, Any]:
        cpu.enter_sandbox(64 * MEBIBYTE, 64, MEBIBYTE)
        return ordinary_python()

    with running(enter_and_live) as (_, task):
        done = task.result()
        assert len(done) == 13
        assert all(done.values()), done


def test_traps_and_the_keeper_go_on() -> None:
    def enter_and_call() -> Any:
        cpu.set_thread_entry(lambda *_: cpu.trap(CALL, 6, 0, 0, 0, 0, 0)[1])
        cpu.enter_sandbox(64 * MEBIBYTE)
        cpu.trap(RECV, 0, 0, 0, 0, 0, 0)
        cpu.trap(RECV, 0, 0, 0, 0, 0, 0)
        return cpu.batch([(CALL, i, 0, (), ()) for i in range(100)])[99][1]

    other = Peer()
    address = 0x10_0000_0000
    with running(enter_and_call, with_keeper=True) as (peer, task):
        first = peer.wait_entry(task)
        assert first is not None
        assert task.ask(abi.ControlOp.THREAD, 1, fds=(other.frame_fd, other.doorbell)) == 0
        call = other.wait_entry(task)
        assert call is not None
        other.echo(call)
        ended = other.wait_entry(task)
        assert ended is not None
        assert (ended.op, ended.mr0) == (abi.Syscall.EXIT, 6)
        assert task.ask(abi.ControlOp.MAP, words=(address, 4096, abi.Rights.READ), fds=(other.frame_fd,)) == 0
        assert task.ask(abi.ControlOp.PARK) == 0
        assert task.ask(abi.ControlOp.UNPARK) == 0
        assert task.ask(abi.ControlOp.UNMAP, words=(address, 4096)) == 0
        peer.echo(first)
        serve_echo(peer, task)
        assert task.result() == 99
    other.close()


def test_the_filter_holds_for_threads_that_run_already() -> None:
    def enter_beside_a_thread() -> Any:
        import threading

        entered = threading.Event()
        outcome: list[int] = []
        thread = threading.Thread(target=lambda: (entered.wait(), outcome.append(tried(DENIED["socket"]))))
        thread.start()
        cpu.enter_sandbox()
        entered.set()
        thread.join()
        return outcome

    with running(enter_beside_a_thread) as (_, task):
        assert task.result() == [errno.EPERM]


def test_private_memory_is_limited() -> None:
    def enter_and_grow() -> Any:
        cpu.enter_sandbox(memory_bytes=16 * MEBIBYTE)
        small = bytearray(8 * MEBIBYTE)
        with pytest.raises(MemoryError):
            bytearray(16 * MEBIBYTE)
        return len(small)

    with running(enter_and_grow) as (_, task):
        assert task.result() == 8 * MEBIBYTE


def test_descriptors_and_the_log_are_limited(tmp_path: Any) -> None:
    def enter_and_open() -> Any:
        log = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT)
        cpu.enter_sandbox(open_files=40, file_bytes=1000)
        with pytest.raises(OSError, match="Too many open files"):
            [os.dup(0) for _ in range(40)]
        written = os.write(log, bytes(2000))
        return written, tried(lambda: os.write(log, b"x"))

    with running(enter_and_open) as (_, task):
        assert task.result() == (1000, errno.EFBIG)


def test_nothing_of_root_is_left() -> None:
    def enter_and_look() -> Any:
        with open("/proc/self/status") as status:
            cpu.enter_sandbox()
            return status.read()

    with running(enter_and_look, with_keeper=True) as (_, task):
        status = dict(line.split(":\t", 1) for line in task.result().splitlines())
        for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
            assert int(status[name], 16) == 0
        assert status["NoNewPrivs"] == "1"
        assert status["Seccomp"] == "2"


def test_the_keeper_has_no_privilege() -> None:
    with running(lambda: cpu.trap(RECV, 0, 0, 0, 0, 0, 0), with_keeper=True) as (peer, task):
        entry = peer.wait_entry(task)
        assert entry is not None
        assert task.ask(abi.ControlOp.UNPARK) == 0
        (keeper,) = [thread for thread in os.listdir(f"/proc/{task.pid}/task") if int(thread) != task.pid]
        status = Path(f"/proc/{task.pid}/task/{keeper}/status").read_text()
        assert "CapEff:\t0000000000000000" in status
        assert "CapPrm:\t0000000000000000" in status
        peer.echo(entry)
        task.result()


def test_layers_are_reported() -> None:
    layers = cpu.sandbox_layers()
    assert layers.no_new_privs
    assert layers.rlimits
    assert layers.landlock >= 0
    with running(lambda: (cpu.enter_sandbox(), cpu.sandbox_layers())[1]) as (_, task):
        inside = task.result()
        assert inside.seccomp == layers.seccomp
        assert not inside.user_namespaces
        assert not inside.namespaces
