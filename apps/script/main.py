"""Runs one Python program that nobody has to trust, with the streams and files that its system description gives it.

Must be given: connections ``line`` (Ethernet), to a card whose frames are the standard streams (`libsel4py.streams`),
``given`` (Directory) with the program's text and what it may read, and ``results`` (Directory) where it may write; two
further threads, or none, where all that the process uses is to be charged to one. Settings: ``script``, the name that
the text has in ``given``, and how it is called; ``arguments``; ``read_only`` and ``writable``, names of files; and
``terminal``, the numbers of the streams that are one.

Rule. The program runs in this process, and can do here whatever this process can: what it is held to is the process's
sandbox and its capabilities. So nothing in this package is relied on by anybody but the program.
"""

from __future__ import annotations

import asyncio
import atexit
import linecache
import logging
import sys
import threading
import traceback
import types
from typing import Final

from apps.script import pump, standard
from apps.script.given import GIVEN, RESULTS, Given
from apps.script.line import Line
from libsel4py import Component, component, uses
from libsel4py.aio import TaskEventLoop
from libsel4py.files import Files
from libsel4py.interfaces.ethernet import Ethernet
from libsel4py.interfaces.file import Directory
from libsel4py.streams import Stream

TEXT: Final = "script"  # a directory of `given`, beside that with the files

STACK_BYTES: Final = (
    1 << 20
)  # of a thread of the program's: they count as its memory, and the host's usual 8 MiB are much


class _EventLoops(asyncio.DefaultEventLoopPolicy):
    """asyncio.run() of a program gets a loop that needs no sockets."""

    _loop_factory = TaskEventLoop


@component
class Main(Component):
    """One program, once."""

    line = uses(Ethernet)
    given = uses(Directory)
    results = uses(Directory)

    def run(self) -> int:
        settings = self.task.environment.configuration
        name, arguments = str(settings["script"]), _texts(settings.get("arguments"))
        text, given = self._bring(_texts(settings.get("read_only")), _texts(settings.get("writable")), name)
        line = Line(self.line, self.task)
        self._streams(line, settings.get("terminal"))
        given.install()
        threading.stack_size(STACK_BYTES)
        asyncio.set_event_loop_policy(_EventLoops())
        logging.root.handlers.clear()
        logging.root.setLevel(logging.WARNING)
        if self.task.environment.worker_threads:
            status = _status_of(text, name, arguments)
        else:
            status = pump.run_beside(lambda: _status_of(text, name, arguments))
        return self._finish(line, given, status)

    def _bring(self, read_only: list[str], writable: list[str], name: str) -> tuple[bytes, Given]:
        places = {GIVEN: Files(self.given)}
        text = places[GIVEN].path(f"{TEXT}/{name}").read_bytes()
        if writable:
            places[RESULTS] = Files(self.results)
        return text, Given(places, read_only, writable)

    def _streams(self, line: Line, terminal: object) -> None:
        at_terminal = terminal if isinstance(terminal, list) else []
        sys.stdin = standard.text_input(standard.Input(line, 0 in at_terminal))
        output = standard.Output(line, Stream.OUTPUT, "<stdout>", 1 in at_terminal)
        error = standard.Output(line, Stream.ERROR, "<stderr>", 2 in at_terminal)
        sys.stdout = standard.text_output(output)
        sys.stderr = standard.text_output(error)

    def _finish(self, line: Line, given: Given, status: int) -> int:
        whole = True
        try:
            given.finish()
        except OSError as error:
            print(f"sel4py: what was written is not all on the disk: {error}", file=sys.stderr)
            whole, status = False, status or 1
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except ValueError:
                continue  # the program has closed it
        standard.finish(line, whole)
        return status


def _texts(value: object) -> list[str]:
    return [str(each) for each in value] if isinstance(value, list) else []


def _status_of(text: bytes, name: str, arguments: list[str]) -> int:
    """Run a program's text as ``__main__``; its exit status as the interpreter's."""
    module = types.ModuleType("__main__")
    module.__file__ = name
    sys.modules["__main__"] = module
    sys.argv = [name, *arguments]
    lines = text.decode(errors="replace").splitlines(keepends=True)
    linecache.cache[name] = (len(text), None, lines, name)
    try:
        exec(compile(text, name, "exec", dont_inherit=True), module.__dict__)
        status = 0
    except SystemExit as end:
        status = end.code & 0xFF if isinstance(end.code, int) else int(end.code is not None)
        if status and not isinstance(end.code, int):
            print(end.code, file=sys.stderr)
    except BaseException as error:
        _drop_own(error)
        traceback.print_exception(error)
        status = 1
    _wait_for_threads()
    return status


def _wait_for_threads() -> None:
    """As the interpreter does at its end: for those that are no daemons; then what was registered with `atexit`."""
    for thread in threading.enumerate():
        if not thread.daemon and thread not in (threading.main_thread(), threading.current_thread()):
            thread.join()
    atexit._run_exitfuncs()


def _drop_own(error: BaseException) -> None:
    """Let a traceback begin with the program's own lines."""
    trace = error.__traceback__
    error.__traceback__ = trace.tb_next if trace is not None else None
