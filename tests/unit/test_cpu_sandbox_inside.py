"""Inside the sandbox: ordinary Python goes on, traps and the keeper too, limits hold, and nothing of root is left."""

import contextlib
import ctypes
import errno
import mmap
import os
import signal
import socket
import struct
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from hw import cpu
from libsel4py import abi
from tests.unit.cpu_peer import Peer, begin_test, running, serve_echo, tried

MEBIBYTE = 1 << 20
CALL, RECV = abi.Syscall.CALL, abi.Syscall.RECV


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
            "test_cpu_sandbox_inside.py" in traceback.format_exc() and "decimal.Decimal" in traceback.format_exc()
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

    address = 0x10_0000_0000
    with contextlib.closing(Peer()) as other, running(enter_and_call, with_keeper=True) as (peer, task):
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
        peer.wait_asleep()  # elsewhere it is not stopped beside another thread that is about to end
        assert task.ask(abi.ControlOp.PARK) == 0
        assert task.ask(abi.ControlOp.UNPARK) == 0
        assert task.ask(abi.ControlOp.UNMAP, words=(address, 4096)) == 0
        peer.echo(first)
        serve_echo(peer, task)
        assert task.result() == 99


def test_the_filter_holds_for_threads_that_run_already() -> None:
    def enter_beside_a_thread() -> Any:
        import threading

        entered = threading.Event()
        outcome: list[int] = []

        def try_a_socket() -> None:
            entered.wait()
            outcome.append(tried(lambda: socket.socket().close()))

        thread = threading.Thread(target=try_a_socket)
        thread.start()
        cpu.enter_sandbox()
        entered.set()
        thread.join()
        return outcome

    with running(enter_beside_a_thread) as (_, task):
        assert task.result() == [errno.EPERM]


def test_nobody_lets_a_stopped_process_go_on_but_who_stopped_it() -> None:
    """Linux continues it for SIGCONT, whoever sends that: a thread that runs still, or a timer, which runs always."""

    def enter_and_send() -> Any:
        import threading

        libc, timer = ctypes.CDLL(None, use_errno=True), ctypes.c_void_p()
        # struct sigevent: a value, the signal, how it is told of
        event = struct.pack("<Qii", 0, signal.SIGCONT, 0).ljust(64, b"\0")
        cpu.enter_sandbox()
        made = libc.timer_create(time.CLOCK_MONOTONIC, event, ctypes.byref(timer)), ctypes.get_errno()
        sent = tried(lambda: signal.pthread_kill(threading.get_ident(), signal.SIGCONT))
        return made, sent, tried(lambda: signal.raise_signal(signal.SIGCHLD))

    with running(enter_and_send) as (_, task):
        assert task.result() == ((-1, errno.EPERM), errno.EPERM, 0)


def test_private_memory_is_limited() -> None:
    def enter_and_grow() -> Any:
        cpu.enter_sandbox(memory_bytes=16 * MEBIBYTE)
        # A mapping each, since the heap may hold free memory that was counted at entry.
        private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        small = mmap.mmap(-1, 8 * MEBIBYTE, flags=private)
        with pytest.raises(OSError, match="Cannot allocate memory"):
            mmap.mmap(-1, 16 * MEBIBYTE, flags=private)
        with pytest.raises(MemoryError):
            bytearray(4096 * MEBIBYTE)
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


def test_what_else_the_parent_has_open_takes_nothing_from_a_task() -> None:
    many = 4 * cpu.DEFAULT_OPEN_FILES

    def enter_and_open() -> Any:
        cpu.enter_sandbox()
        return os.read(own, 5), os.close(os.dup(0)), [tried(partial(os.fstat, other)) for other in others]

    with contextlib.ExitStack() as stack:
        others = [os.memfd_create("another's") for _ in range(many)]
        stack.callback(lambda: [os.close(other) for other in others])
        begin_test()
        own = os.memfd_create("own")
        stack.callback(os.close, own)
        os.pwrite(own, b"still", 0)
        with running(enter_and_open) as (_, task):
            assert task.result() == (b"still", None, [errno.EBADF] * many)


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

    def enter_and_ask() -> cpu.SandboxLayers:
        cpu.enter_sandbox()
        return cpu.sandbox_layers()

    with running(enter_and_ask) as (_, task):
        inside = task.result()
        assert inside.seccomp == layers.seccomp
        assert not inside.user_namespaces
        assert not inside.namespaces
