"""Processes ahead of need: forked, and in their sandbox, before anybody knows which task they are to be.

To start a task is then one message to a process that waits, and what a fork and a sandbox take is taken while the
zygote has nothing else to do. What the message brings stands in hw/_cpu/ahead.c: the log, the trap frame, doorbell and
control socket, the mappings that ride along, the bound of memory, and which image.

Rules. One process waits, or none, and whoever finds none, or a dead one, forks. One that does not wait yet is given its
order all the same, which it finds when it does: it is further than one that is forked now. Whoever hears of forbidden
calls knows it by a number of its own, and by the task's once it is one. A task whose filter is loosened is never made
of one: its filter is another. It belongs to no task before its order: it has no descriptor but its end of the socket,
runs no line of any image, and is neither told nor counted by anybody. It ends with the zygote, as all do, and when the
other end of its socket is closed. Where memory runs out it comes before all tasks: nobody misses it, and another one is
made.
"""

from __future__ import annotations

import itertools
import os
import select
import socket
import struct
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Final, NamedTuple, NoReturn, TypeAlias

import hw.cpu
from hw.layers import Layer
from hw.oom_score import OomScore
from kerneld.host.child import CONTROL, LOG_BYTES, Entry, Request, Running, open_child, run_image

NAME: Final = "sel4py-ahead"
FIRST_NUMBER: Final = 1 << 63  # the kernel counts from 1 on
REPLACED: Final = 3  # that ended before they were any task, between one start and the next
LEAST_AVAILABLE: Final = 64 << 20  # of the host's memory, in bytes; below that none waits, which holds some MiB
_LOG_FLAGS: Final = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


Rehearse: TypeAlias = Callable[[], Iterable[None]]


class Waiting(NamedTuple):
    """A process that waits, or is about to. `orders`: the other end of its socket. `is_first`: to end where memory runs
    out."""

    number: int
    pid: int
    pidfd: int
    orders: socket.socket
    is_first: bool


class Ahead:
    """The zygote's. Whoever uses it reaps what it returns.

    Args:
        images: what an order's number means. log_folder: descriptor of the folder with the tasks' logs.
        parent, file_rules, without, report: as for `child.Task`. fork: as os.fork.
        rehearse: what each process does before it waits, in steps, after each of which it looks for its order.
        score: by which it comes before tasks where memory runs out; None: it comes as they do.
    """

    def __init__(
        self,
        images: Sequence[ModuleType | str],
        log_folder: int,
        parent: int,
        file_rules: int,
        without: Layer,
        report: int,
        fork: Callable[[], int] = os.fork,
        rehearse: Rehearse = tuple,
        score: OomScore | None = None,
    ) -> None:
        self._images = images
        self._rehearse = rehearse
        self._score = score
        self._log_folder = log_folder
        self._parent = parent
        self._file_rules = file_rules
        self._without = without
        self._report = report
        self._new_process = fork
        self._numbers = itertools.count(FIRST_NUMBER)
        self._waiting: Waiting | None = None
        self._wanted = True
        self._replaced = 0

    @property
    def wanted(self) -> bool:
        """Whether one should be forked, when there is time."""
        return self._wanted and self._waiting is None

    @property
    def waiting(self) -> Waiting | None:
        """The one that waits, which is not reaped."""
        return self._waiting

    def fork(self, *, rehearses: bool = True) -> Waiting | None:
        """Have one, which begins for nobody first if it ``rehearses``. None if the host has no memory to spare, or
        refuses: then not before another is wanted."""
        self._wanted = False
        if _available_bytes() < LEAST_AVAILABLE:
            return None
        number = next(self._numbers)
        try:
            orders, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        except OSError:
            return None
        rehearse: Rehearse = self._rehearse if rehearses else tuple
        with theirs:
            spare = _Spare(self._images, self._beginning(theirs.fileno()), number, self._without, rehearse)
            try:
                pid = self._new_process()
            except OSError:
                orders.close()
                return None
            if pid == 0:
                spare.run()
        pidfd = open_child(pid)
        if pidfd is None:
            orders.close()
            return None
        orders.setblocking(False)
        self._waiting = Waiting(number, pid, pidfd, orders, self._score is not None and self._score.try_put_first(pid))
        return self._waiting

    def order(self, request: Request, image: int, log: str) -> Waiting | None:
        """Make the one that waits this task's; its socket is closed. None if none does, or the host refuses."""
        self._wanted, self._replaced = True, 0
        waiting = self._waiting
        if waiting is None or len(request.maps) > hw.cpu.MOST_ORDERED_MAPS:
            return None
        memory = -1 if Layer.LIMITS in self._without else request.memory
        try:
            order = hw.cpu.pack_order(
                memory, image, request.image_number, request.arguments, request.name or request.image, request.maps
            )
            output = os.open(log, _LOG_FLAGS, 0o600, dir_fd=self._log_folder)
        except (OSError, struct.error):
            return None  # that it does not start, and why, is found by the way that says so
        try:
            if self._score is not None and waiting.is_first and not self._score.try_put_among_others(waiting.pid):
                return None  # it dies, and will be reaped
            socket.send_fds(waiting.orders, [order], [output, *request.descriptors])
        except OSError:  # it has died, and will be reaped; or too many descriptors are on their way
            if self._score is not None and waiting.is_first:
                self._score.try_put_first(waiting.pid)
            return None
        finally:
            os.close(output)
        waiting.orders.close()
        self._waiting = None
        return waiting

    def ended(self, pidfd: int) -> Waiting | None:
        """Whether that was the one that waits. It is not any more, and another is wanted, `REPLACED` times at most."""
        waiting = self._waiting
        if waiting is None or waiting.pidfd != pidfd:
            return None
        self._wanted, self._replaced = self._replaced < REPLACED, self._replaced + 1
        waiting.orders.close()
        self._waiting = None
        return waiting

    def _beginning(self, orders: int) -> hw.cpu.Beginning:
        return hw.cpu.Beginning.pack(
            self._parent,
            NAME,
            self._log_folder,
            "",
            (orders, orders, orders),
            (),
            self._file_rules,
            self._report,
            Layer.CAPABILITIES not in self._without,
        )


class _Spare:
    """What such a process does."""

    def __init__(
        self,
        images: Sequence[ModuleType | str],
        beginning: hw.cpu.Beginning,
        number: int,
        without: Layer,
        rehearse: Rehearse,
    ) -> None:
        self._images = images
        self._beginning = beginning
        self._number = number
        self._without = without
        self._rehearse = rehearse
        self._entry = Entry()

    def run(self) -> NoReturn:
        run_image(self._enter)

    def _enter(self) -> Running:
        report = hw.cpu.begin(self._beginning)
        hw.cpu.set_thread_entry(self._entry)
        hw.cpu.prepare()
        hw.cpu.enter_sandbox(
            file_bytes=LOG_BYTES,
            without=self._without,
            report=None if report < 0 else hw.cpu.Report(report, self._number),
        )
        self._rehearse_until_ordered()
        image, self._entry.number, *arguments = hw.cpu.await_order()
        module = self._images[image]
        assert isinstance(module, ModuleType)  # the zygote starts no other
        self._entry.image = module
        self._entry.release()
        return module.main, arguments

    def _rehearse_until_ordered(self) -> None:
        orders = select.poll()
        orders.register(CONTROL, select.POLLIN)
        steps = iter(self._rehearse())
        for _ in steps:
            if orders.poll(0):
                break


def _available_bytes() -> int:
    """Memory that the host can give without taking any back from others; 0 where it does not say."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:")), 0)
