"""Access to memory that is not there: the thread asks the kernel, and the instruction is carried out again."""

import contextlib
import ctypes
import faulthandler
import os
import signal
import struct
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from hw import cpu
from libsel4py import abi
from libsel4py.abi import ControlOp, MapFlags, PageFault, Syscall
from tests.unit.cpu_peer import Entry, Peer, Task, next_entry, running, start, wait_forever
from tests.unit.fault_peer import (
    BASE,
    PAGE,
    READ,
    Told,
    logged,
    map_memory,
    map_page,
    memory,
    next_fault,
    run_threads,
    serve_pages,
    tell,
)

CALL, EXIT, FAULT = Syscall.CALL, Syscall.EXIT, Syscall.FAULT
USER, PRESENT, WRITE_FAULT = PageFault.USER, PageFault.PRESENT, PageFault.WRITE
SOON_NS = 20_000_000


def number_of(page: int) -> int:
    return (page - BASE) // PAGE


def numbered(page: int) -> bytes:
    return struct.pack("<Q", number_of(page) + 1) + bytes([number_of(page) & 255]) * (PAGE - 8)


def view(pages: int = 1, writable: bool = False) -> memoryview:
    return memoryview(cpu.Mapping(BASE, pages * PAGE, writable))


def test_a_fault_in_bytecode() -> None:
    with running(lambda: view()[5000 % PAGE], with_keeper=True) as (peer, task):
        entry, fault = next_fault(peer, task)
        assert fault[0::2] == (BASE + 5000 % PAGE, USER)
        assert fault.ip
        map_page(task, BASE, bytes(5000 % PAGE) + b"\x2a")
        peer.complete(entry.tag)
        assert task.result() == 42


@pytest.mark.parametrize(
    "way", [bytes, bytearray, lambda memory: memory.tobytes()], ids=["bytes", "bytearray", "tobytes"]
)
def test_a_fault_in_a_copy(way: Callable[[memoryview], bytes]) -> None:
    with running(lambda: bytes(way(view(3))), with_keeper=True) as (peer, task):
        told = serve_pages(peer, task, numbered)
        assert sorted({fault.address & -PAGE for fault in told}) == [BASE, BASE + PAGE, BASE + 2 * PAGE]
        assert task.result() == b"".join(numbered(BASE + page * PAGE) for page in range(3))


def test_a_fault_in_an_assignment_to_a_slice() -> None:
    def run() -> bytes:
        target = view(2, writable=True)
        target[PAGE - 4 : PAGE + 4] = b"abcdefgh"
        return bytes(target[PAGE - 5 : PAGE + 5])

    with running(run, with_keeper=True) as (peer, task):
        told = serve_pages(peer, task, numbered)
        assert {fault.kind for fault in told} == {USER | WRITE_FAULT}
        assert task.result() == b"\0abcdefgh\0"


def test_a_fault_in_numpy() -> None:
    numpy = pytest.importorskip("numpy")

    def run() -> int:
        return int(numpy.frombuffer(cpu.Mapping(BASE, 4 * PAGE), dtype=numpy.uint8).sum())

    with running(run, with_keeper=True) as (peer, task):
        serve_pages(peer, task, numbered)
        assert task.result() == sum(sum(numbered(BASE + page * PAGE)) for page in range(4))


def test_a_thousand_pages_in_order() -> None:
    pages = 1000

    def run() -> list[int]:
        whole = view(pages)
        return [int.from_bytes(whole[page * PAGE : page * PAGE + 8], "little") for page in range(pages)]

    with running(run, with_keeper=True) as (peer, task):
        told = serve_pages(peer, task, numbered)
        assert [fault.address for fault in told] == [BASE + page * PAGE for page in range(pages)]
        assert task.result() == list(range(1, pages + 1))


def test_eight_threads_fault_at_once() -> None:
    """Guarded, so that each waits without the GIL: all eight are asked before one is answered."""

    def entry(thread: int, *_: int) -> int:
        return cpu.Mapping(BASE + thread * PAGE, PAGE).read(0, 1)[0]

    def first() -> Any:
        cpu.set_thread_entry(entry)
        return wait_forever()

    with running(first, with_keeper=True) as (peer, task), contextlib.ExitStack() as stack:
        waiting = next_entry(peer, task)
        others = [stack.enter_context(contextlib.closing(Peer())) for _ in range(8)]
        for number, other in enumerate(others):
            assert start(task, other, number + 1) == 0
        asked = [next_fault(other, task) for other in others]
        assert [fault.address for _, fault in asked] == [BASE + (number + 1) * PAGE for number in range(8)]
        for number, (other, (entry_of, _)) in enumerate(zip(others, asked, strict=True)):
            map_page(task, BASE + (number + 1) * PAGE, bytes([number + 10]))
            other.complete(entry_of.tag)
        assert [(ended.op, ended.mr0) for ended in (next_entry(other, task) for other in others)] == [
            (EXIT, number + 10) for number in range(8)
        ]
        peer.echo(waiting)
        task.result()


def test_eight_threads_fault_in_turn_with_the_gil() -> None:
    def entry(thread: int, *_: int) -> int:
        own = view(450)[thread * 50 * PAGE : (thread + 1) * 50 * PAGE]
        return sum(own[page * PAGE] for page in range(50)) & 0xFFFF

    def first() -> Any:
        cpu.set_thread_entry(entry)
        return wait_forever()

    ends: list[int] = []
    lock = threading.Lock()

    def serve(other: Peer, task: Task) -> None:
        while (asked := next_entry(other, task)).op != EXIT:
            page = Told.of(asked).address & -PAGE
            with lock:
                map_page(task, page, numbered(page))
            other.complete(asked.tag)
        ends.append(asked.mr0)

    run_threads(8, first, serve, lock)
    assert sorted(ends) == sorted(
        sum(page + 1 & 255 for page in range(part * 50, part * 50 + 50)) & 0xFFFF for part in range(1, 9)
    )


@pytest.mark.parametrize("in_c", [False, True])
def test_a_write_to_a_read_only_mapping(in_c: bool) -> None:
    def run() -> bytes:
        whole = view(writable=True)
        before = whole[0]
        if in_c:
            ctypes.memset(BASE, 7, 8)
        else:
            whole[0] = 7
        return bytes([before, whole[0]])

    with running(run, with_keeper=True) as (peer, task):
        fd = memory(b"\1")
        entry, fault = next_fault(peer, task)
        assert fault[0::2] == (BASE, USER)
        map_memory(task, BASE, fd, READ)
        peer.complete(entry.tag)
        entry, fault = next_fault(peer, task)
        assert fault[0::2] == (BASE, USER | WRITE_FAULT | PRESENT)
        map_memory(task, BASE, fd)
        peer.complete(entry.tag)
        assert task.result() == b"\1\7"
        assert os.pread(fd, 1, 0) == b"\7"
        os.close(fd)


def test_memory_that_was_truncated_is_asked_for() -> None:
    def run() -> list[int]:
        whole = view()
        first = whole[0]
        cpu.trap(CALL, 0, 0, 0, 0, 0, 0)
        return [first, whole[0]]

    with running(run, with_keeper=True) as (peer, task):
        fd = memory(b"\1")
        entry, _ = next_fault(peer, task)
        map_memory(task, BASE, fd)
        peer.complete(entry.tag)
        called = next_entry(peer, task)
        os.ftruncate(fd, 0)
        os.close(fd)
        peer.echo(called)
        entry, fault = next_fault(peer, task)
        assert fault[0::2] == (BASE, USER)
        map_page(task, BASE, b"\2")
        peer.complete(entry.tag)
        assert task.result() == [1, 2]


def test_a_thread_waits_for_what_its_keeper_was_told() -> None:
    """The kernel is not asked: the entry that comes is the next system call."""

    def run() -> int:
        cpu.trap(CALL, 1, 0, 0, 0, 0, 0)
        first = view()[0]
        return first + cpu.trap(CALL, 2, 0, 0, 0, 0, 0)[3] + view(2)[PAGE]

    with running(run, with_keeper=True) as (peer, task):
        called = next_entry(peer, task)
        tell(peer, 2)
        peer.echo(called)
        with asleep_in_a_futex(task):
            assert peer.take() is None
        map_page(task, BASE, b"\x05")
        assert peer.take() is None
        assert task.ask(ControlOp.UNMAP, words=(BASE + PAGE, PAGE, 0, MapFlags.RESERVE)) == 0
        called = next_entry(peer, task)
        assert (called.op, called.cptr) == (CALL, 2)
        peer.complete(called.tag, mrs=(6,))
        entry, fault = next_fault(peer, task)
        assert fault.address == BASE + PAGE
        map_page(task, BASE + PAGE, b"\x07")
        peer.complete(entry.tag)
        assert task.result() == 18


@contextlib.contextmanager
def asleep_in_a_futex(task: Task) -> Any:
    """Once the task's first thread sleeps in a futex for ever."""
    with open(f"/proc/{task.pid}/task/{task.pid}/wchan") as where:
        while "futex" not in where.read():
            where.seek(0)
            os.sched_yield()
        yield


def test_a_message_is_written_from_memory_that_is_not_there() -> None:
    """The rings are idle then, though the call is about a message; the message area stays as it is."""

    def run() -> bytes:
        cpu.message_write(4, view()[:64])
        return cpu.message_read(4, 8)

    with running(run, with_keeper=True) as (peer, task):
        serve_pages(peer, task, lambda _: bytes(range(1, 65)))
        assert task.result() == bytes(range(1, 65))


def test_system_calls_go_on_around_faults() -> None:
    def run() -> int:
        whole, total = view(50), 0
        for page in range(50):
            total += cpu.trap(CALL, whole[page * PAGE], 0, 0, 0, 0, 0)[1]
            total += sum(done[1] for done in cpu.batch([(CALL, whole[page * PAGE + 1], 0, (), ())] * 3))
        return total

    with running(run, with_keeper=True) as (peer, task):
        while (entry := peer.wait_entry(task)) is not None:
            if entry.op == FAULT:
                map_page(task, entry.mr0 & -PAGE, b"\1\2")
                peer.complete(entry.tag)
            else:
                peer.echo(entry)
        assert task.result() == 50 * 7


# --- what ends the process


def ended(function: Callable[[], Any], serve: Callable[[Peer, Task], None] = lambda *_: None) -> tuple[int, str]:
    """The signal that ended it, and its log. Memory that is not there is not waited for at length."""

    def run() -> Any:
        cpu.set_exchange_ns(SOON_NS)
        return function()

    with logged(run) as (peer, task, log):
        serve(peer, task)
        return -os.waitstatus_to_exitcode(task.reap()), log()


def test_a_null_dereference_ends_the_process() -> None:
    number, log = ended(lambda: ctypes.string_at(0))
    assert number == signal.SIGSEGV
    assert log.startswith("sel4py: thread ")
    assert " read from address 0x0, instruction 0x" in log
    assert log.endswith("none that the kernel maps can be; the process ends by SIGSEGV\n")
    assert log.count("\n") == 1


def test_a_write_elsewhere_ends_the_process() -> None:
    number, log = ended(lambda: ctypes.memset(8, 0, 1))
    assert (number, " wrote to address 0x8, " in log) == (signal.SIGSEGV, True)


def test_a_signal_of_its_own_ends_the_process() -> None:
    number, log = ended(lambda: signal.raise_signal(signal.SIGSEGV))
    assert number == signal.SIGSEGV
    assert "no access is to blame" in log


def test_a_stack_that_is_too_deep_ends_the_process_with_a_line() -> None:
    @ctypes.PYFUNCTYPE(None)
    def deeper() -> None:
        deeper()

    def run() -> None:
        sys.setrecursionlimit(1 << 30)
        deeper()

    number, log = ended(run)
    assert number == signal.SIGSEGV
    assert "the process ends by SIGSEGV" in log


def test_an_access_while_a_system_call_is_under_way_ends_the_process() -> None:
    def run() -> Any:
        signal.signal(signal.SIGALRM, lambda *_: view()[0])
        return wait_forever()

    def serve(peer: Peer, task: Task) -> None:
        next_entry(peer, task)
        peer.wait_asleep()
        signal.pidfd_send_signal(task.pidfd, signal.SIGALRM)

    number, log = ended(run, serve)
    assert number == signal.SIGSEGV
    assert "this thread is inside a system call" in log


# --- faults while another one is being resolved: by a handler in C, which runs at once where Python's wait

libc = ctypes.CDLL(None)


def on_alarm(handler: Callable[[int], object]) -> Any:
    """Install a signal handler of the host's own kind; what it returns must be kept."""
    kept = ctypes.CFUNCTYPE(None, ctypes.c_int)(handler)
    libc.signal(signal.SIGALRM, kept)
    return kept


def touching(address: int) -> Callable[[], int]:
    def run() -> int:
        read: list[int] = []
        kept = on_alarm(lambda _: read.append(ctypes.c_ubyte.from_address(address).value))
        first = view()[0]
        del kept
        return first + read[0]

    return run


def alarm_in_a_fault(peer: Peer, task: Task) -> Entry:
    """The fault's entry; its handler sleeps, and then has the signal."""
    entry, _ = next_fault(peer, task)
    peer.wait_asleep()
    signal.pidfd_send_signal(task.pidfd, signal.SIGALRM)
    return entry


def alarm_and_leave(peer: Peer, task: Task) -> None:
    alarm_in_a_fault(peer, task)


NESTED = f", while its fault at address {BASE:#x} was being resolved: "


def test_a_nested_fault_that_nobody_can_resolve_is_told_as_one() -> None:
    number, log = ended(touching(BASE + PAGE), alarm_and_leave)
    assert number == signal.SIGSEGV
    assert f" read from address {BASE + PAGE:#x}, instruction 0x" in log
    assert f"{NESTED}the memory is not there, and a thread asks the kernel for one access at a time" in log


def test_a_wild_pointer_while_a_fault_is_resolved_is_told_as_a_bug() -> None:
    number, log = ended(touching(8), alarm_and_leave)
    assert number == signal.SIGSEGV
    assert " read from address 0x8, instruction 0x" in log
    assert f"{NESTED}the process has no such memory there" in log


def test_a_wild_pointer_behind_a_fault_is_no_nested_one() -> None:
    def run() -> None:
        kept = on_alarm(lambda _: None)
        view()[0]
        del kept
        ctypes.string_at(8)

    def serve(peer: Peer, task: Task) -> None:
        entry = alarm_in_a_fault(peer, task)
        map_page(task, BASE)
        peer.complete(entry.tag)

    number, log = ended(run, serve)
    assert (number, "being resolved" in log) == (signal.SIGSEGV, False)
    assert " read from address 0x8, " in log


def test_a_nested_fault_is_resolved_by_what_the_keeper_brings() -> None:
    """As where the frame is exchanged because another holder has lost it: it is gone for a moment."""
    with running(touching(BASE + PAGE), with_keeper=True) as (peer, task):
        entry = alarm_in_a_fault(peer, task)
        map_page(task, BASE + PAGE, b"\x05")
        map_page(task, BASE, b"\x08")
        peer.complete(entry.tag)
        assert task.result() == 13


def test_a_wild_pointer_in_a_fault_of_a_thread_without_a_trap_frame_is_told_as_a_bug() -> None:
    def run() -> None:
        kept = on_alarm(lambda _: ctypes.c_ubyte.from_address(8).value)

        def touch() -> None:
            os.write(told, b"x")
            ctypes.memmove(BASE, b"x", 1)

        thread = threading.Thread(target=touch)
        thread.start()
        os.read(tell, 1)
        identity = thread.ident
        assert identity is not None
        with open(f"/proc/self/task/{thread.native_id}/wchan") as where:
            while "futex" not in where.read():
                where.seek(0)
        signal.pthread_kill(identity, signal.SIGALRM)
        thread.join()
        del kept

    tell, told = os.pipe()
    number, log = ended(run)
    for descriptor in (tell, told):
        os.close(descriptor)
    assert number == signal.SIGSEGV
    assert f"{NESTED}the process has no such memory there" in log


def test_a_guarded_access_while_a_system_call_is_under_way_raises() -> None:
    def run() -> Any:
        cpu.set_exchange_ns(SOON_NS)
        signal.signal(signal.SIGALRM, lambda *_: cpu.Mapping(BASE, PAGE).read(0, 1))
        with pytest.raises(cpu.VMFault):
            wait_forever()
        return cpu.trap(CALL, 3, 0, 0, 0, 0, 0)[1]

    with running(run, with_keeper=True) as (peer, task):
        waiting = next_entry(peer, task)
        peer.wait_asleep()
        signal.pidfd_send_signal(task.pidfd, signal.SIGALRM)
        cancel = next_entry(peer, task)
        assert cancel.op == Syscall.CANCEL
        peer.complete(waiting.tag, abi.Status.CANCELLED)
        peer.complete(cancel.tag)
        peer.echo(next_entry(peer, task))
        assert task.result() == 3


def test_a_thread_without_a_trap_frame_ends_the_process() -> None:
    def run() -> None:
        thread = threading.Thread(target=lambda: view()[0])
        thread.start()
        thread.join()

    number, log = ended(run)
    assert number == signal.SIGSEGV
    assert "this thread has no trap frame" in log


def test_a_thread_without_a_trap_frame_waits_for_the_keeper_too() -> None:
    def run() -> list[int]:
        cpu.trap(CALL, 1, 0, 0, 0, 0, 0)
        found: list[int] = []
        thread = threading.Thread(target=lambda: found.append(view()[0]))
        thread.start()
        cpu.trap(CALL, 2, 0, 0, 0, 0, 0)
        thread.join()
        return found

    with running(run, with_keeper=True) as (peer, task):
        called = next_entry(peer, task)
        tell(peer, 1)
        peer.echo(called)
        map_page(task, BASE, b"\x09")
        peer.echo(next_entry(peer, task))
        assert task.result() == [9]


def test_a_kernel_that_says_no_ends_the_process() -> None:
    def serve(peer: Peer, task: Task) -> None:
        entry, _ = next_fault(peer, task)
        peer.complete(entry.tag, mrs=(1,))

    number, log = ended(lambda: view()[0], serve)
    assert (number, "the kernel gives no memory there" in log) == (signal.SIGSEGV, True)


def test_a_wrong_completion_ends_the_process() -> None:
    def serve(peer: Peer, task: Task) -> None:
        entry, _ = next_fault(peer, task)
        peer.complete(entry.tag + 1)

    number, log = ended(lambda: view()[0], serve)
    assert (number, "does not keep to libsel4py.abi" in log) == (signal.SIGSEGV, True)


# --- signals, faulthandler, stops


@pytest.mark.parametrize("before", [True, False])
def test_faulthandler_is_no_hindrance(before: bool) -> None:
    """On before the task began, which attach() ends; or turned on later, when it tells of the first fault alone."""

    def run() -> int:
        if before:
            assert not faulthandler.is_enabled()
        else:
            faulthandler.enable(2)
        whole = view(3)
        return whole[0] + whole[PAGE] + whole[2 * PAGE]

    if before:
        faulthandler.enable()
    with logged(run) as (peer, task, log):
        told = serve_pages(peer, task, numbered)
        assert len(told) == 3
        assert task.result() == 6
        assert log().count("Fatal Python error") == (0 if before else 1)


def test_signal_handlers_run_when_the_fault_is_over() -> None:
    def run() -> list[int]:
        ran: list[int] = []
        signal.signal(signal.SIGALRM, lambda *_: ran.append(len(ran)))
        whole = view()
        first = whole[0]
        while not ran:
            pass
        return [first, *ran]

    with running(run, with_keeper=True) as (peer, task):
        entry, _ = next_fault(peer, task)
        for _ in range(100):
            peer.wait_asleep()
            signal.pidfd_send_signal(task.pidfd, signal.SIGALRM)
        map_page(task, BASE, b"\x08")
        peer.complete(entry.tag)
        assert task.result()[:2] == [8, 0]


def test_a_thread_is_parked_while_it_waits_for_its_pager() -> None:
    told, tell = os.pipe()

    def look_and_stay() -> int:
        value = view()[0]
        os.read(told, 1)  # a process that ends need not answer
        return value

    with running(look_and_stay, with_keeper=True) as (peer, task):
        entry, _ = next_fault(peer, task)
        for _ in range(20):
            assert task.ask(ControlOp.PARK) == 0
            assert task.ask(ControlOp.UNPARK) == 0
        assert task.ask(ControlOp.PARK) == 0
        map_page(task, BASE, b"\x0b")
        peer.complete(entry.tag)
        assert task.ask(ControlOp.PARK) == 0
        assert not task.has_ended(0)
        assert task.ask(ControlOp.UNPARK) == 0
        os.write(tell, b"x")
        assert task.result() == 11
    for descriptor in (told, tell):
        os.close(descriptor)


def test_a_stopped_process_faults_on_when_it_goes_on() -> None:
    with running(lambda: view()[0], with_keeper=True) as (peer, task):
        entry, _ = next_fault(peer, task)
        map_page(task, BASE, b"\x0c")
        signal.pidfd_send_signal(task.pidfd, signal.SIGSTOP)
        peer.complete(entry.tag)
        assert not task.has_ended(0)
        signal.pidfd_send_signal(task.pidfd, signal.SIGCONT)
        assert task.result() == 12


def test_faults_work_in_the_sandbox() -> None:
    def run() -> int:
        cpu.enter_sandbox(memory_bytes=4 << 20)
        faulthandler.enable(1)
        return view()[0]

    with running(run, with_keeper=True) as (peer, task):
        serve_pages(peer, task, numbered)
        assert task.result() == 1


def test_started_and_ended_threads_leave_no_stack() -> None:
    def first() -> Any:
        cpu.set_thread_entry(lambda *_: None)
        before = count_maps()
        wait_forever()
        return count_maps() - before

    def count_maps() -> int:
        with open("/proc/self/maps") as maps:
            return sum("rw-s" in line for line in maps)

    with running(first, with_keeper=True) as (peer, task):
        waiting = next_entry(peer, task)
        for number in range(50):
            with contextlib.closing(Peer()) as other:
                assert start(task, other, number + 1) == 0
                assert next_entry(other, task).op == EXIT
        peer.echo(waiting)
        assert task.result() <= 2  # the last thread may be about to go
