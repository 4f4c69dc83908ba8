"""The stdio back end: the UART's other end is where `sel4py up` was started. And that terminal's raw mode.

At a terminal, Ctrl-] ends the system: in raw mode Ctrl-C is a byte for the console like any other.
"""

from __future__ import annotations

import os
import termios
import tty
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING

from hw.devices.descriptors import DescriptorBackend
from hw.devices.serial_line import SerialLine

if TYPE_CHECKING:
    import asyncio  # the monitor has no loop


def stdio_backend(
    loop: asyncio.AbstractEventLoop,
    line: SerialLine,
    source: int,
    target: int,
    escape: Callable[[], None],
    lost: Callable[[int], None],
) -> DescriptorBackend:
    """Joins the line to the given standard input and output."""
    return DescriptorBackend(loop, line, source, target, escape if os.isatty(source) else None, lost)


class RawTerminal:
    """While in this context, the terminal passes each key on as it is and echoes nothing. Does nothing to what is no
    terminal.

    Output is still translated (a line feed returns the carriage), so that logs stay legible.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._saved: list[object] | None = None

    def __enter__(self) -> RawTerminal:
        if os.isatty(self._descriptor) and not in_background(self._descriptor):
            saved = termios.tcgetattr(self._descriptor)
            tty.setraw(self._descriptor, termios.TCSADRAIN)
            raw = termios.tcgetattr(self._descriptor)
            raw[1] = saved[1]
            termios.tcsetattr(self._descriptor, termios.TCSADRAIN, raw)
            self._saved = list(saved)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._saved is not None:
            termios.tcsetattr(self._descriptor, termios.TCSADRAIN, self._saved)  # type: ignore[arg-type]
            self._saved = None


def in_background(terminal: int) -> bool:
    """Whether it is this process's terminal and another job has it: changing it would stop this one (SIGTTOU)."""
    try:
        return os.tcgetpgrp(terminal) != os.getpgrp()
    except OSError:  # ENOTTY: not the terminal of this session
        return False
