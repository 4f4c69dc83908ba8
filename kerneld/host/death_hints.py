"""Deaths, heard of before the host has taken the memory of the process down, which for a large one takes long.

Each process's first thread holds a robust mutex of the C library's in its trap frame (`abi.DEATH_WORD`): Linux marks it
and wakes who waits for it as the first thing at the thread's end (set_robust_list(2)). A thread of the kernel's process
waits for all of them, `futex_waitv(2)`, and does nothing but say so to the loop.

Rules. The word is the task's to write, and to wake who waits for it: what it says is a hint, and the loop asks Linux
(`Processes.hinted`). A word that has changed, or woken this thread, more than `MOST_CHANGES` times without a death is
looked at no more; so is every one beyond `MOST_WORDS`: their ends are heard of a little later. Words are looked at
through RAM's window, which always shows something there, and nothing is held of the frame: it may be destroyed at any
moment, and other words may come to lie there.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import errno
import os
import signal
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from hw.ram import Ram
from hw.window import host_address
from libsel4py.abi import DEATH_WORD

MOST_WORDS: Final = 127  # of the 128 that one call waits for; one is our own
MOST_CHANGES: Final = 8
_WORD_BYTES: Final = 4
_OWNER_DIED: Final = 0x4000_0000  # FUTEX_OWNER_DIED
_FUTEX_32: Final = 2
_FUTEX_WAIT, _FUTEX_WAKE = 0, 1
_SYS_FUTEX: Final = {"x86_64": 202, "aarch64": 98}.get(os.uname().machine, -1)
_SYS_FUTEX_WAITV: Final = 449
_ENTRY: Final = struct.Struct("<QQII")  # struct futex_waitv

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


@dataclass(slots=True, eq=False)
class _Word:
    """One process's. ``address`` is where it is at the host."""

    start: int
    address: int
    value: int = 0
    changes: int = 0

    def is_over(self) -> bool:
        """Whether the process may have ended, or is not to be looked at any more."""
        value = ctypes.c_uint32.from_address(self.address).value
        if value != self.value:
            self.value, self.changes = value, self.changes + 1
        return bool(value & _OWNER_DIED) or self.changes > MOST_CHANGES


class DeathHints:
    """Calls ``hinted`` with the number of a process's start, from the loop, when it may have ended.

    RAM's window must stay where it is until `close`.
    """

    def __init__(self, ram: Ram, loop: asyncio.AbstractEventLoop, hinted: Callable[[int], None]) -> None:
        self._ram = ram
        self._loop = loop
        self._hinted = hinted
        self._lock = threading.Lock()
        self._words: dict[int, _Word] = {}
        self._own = ctypes.c_uint32(0)
        self._closing = False
        self._thread: threading.Thread | None = None

    def watch(self, start: int, frame: int) -> None:
        """Wait for a process whose first thread has its trap frame at this physical address."""
        if len(self._words) >= MOST_WORDS or _SYS_FUTEX < 0:
            return
        word = _Word(start, host_address(self._ram, frame + DEATH_WORD, _WORD_BYTES))
        with self._lock:
            self._words[start] = word
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="death-hints", daemon=True)
            self._thread.start()
        self._look_again()

    def forget(self, start: int) -> None:
        """Do not wait for it any more. Twice does no harm."""
        with self._lock:
            word = self._words.pop(start, None)
        if word is not None:
            self._look_again()

    def close(self) -> None:
        """Wait for none any more."""
        with self._lock:
            self._closing = True
            self._words.clear()
        if self._thread is not None:
            self._look_again()
            self._thread.join()
            self._thread = None

    def _look_again(self) -> None:
        with self._lock:
            self._own.value = (self._own.value + 1) & 0xFFFF_FFFF
        _libc.syscall(_SYS_FUTEX, ctypes.byref(self._own), _FUTEX_WAKE, 1, None, None, 0)

    # --- the thread

    def _run(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())  # they are the loop's
        while True:
            with self._lock:
                if self._closing:
                    return
                own = self._own.value
                dead = [word for word in self._words.values() if word.is_over()]
                for word in dead:
                    del self._words[word.start]
                words = list(self._words.values())
            for word in dead:
                with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens
                    self._loop.call_soon_threadsafe(self._hinted, word.start)
            woken = _wait(own, ctypes.addressof(self._own), words)
            if woken is not None:
                woken.changes += 1


def _wait(own: int, own_address: int, words: list[_Word]) -> _Word | None:
    """Sleep until one of the words is not what it was, or is woken: returns that one. May end for no reason."""
    entries = _ENTRY.pack(own, own_address, _FUTEX_32, 0) + b"".join(
        _ENTRY.pack(word.value, word.address, _FUTEX_32, 0) for word in words
    )
    woken: int = _libc.syscall(_SYS_FUTEX_WAITV, entries, 1 + len(words), 0, None, 0)
    if woken >= 0:
        return words[woken - 1] if woken else None
    if ctypes.get_errno() not in (errno.EAGAIN, errno.EINTR):
        # A host without it: ends are heard of by pidfds alone, and this thread has nothing to do.
        _libc.syscall(_SYS_FUTEX, ctypes.c_void_p(own_address), _FUTEX_WAIT, own, None, None, 0)
    return None
