"""The shell: reads lines from the console and carries out commands on the capabilities that it was given.

Must be given: connections ``console``, ``names`` and the grant ``system-information``. It ends at ``exit`` and at the
end of its input, with the status that ``exit`` named. No command, and no server's death, ends it otherwise.
With ``threads = 1`` Ctrl-C ends the command that runs.
"""

from __future__ import annotations

from functools import partial

from apps.shell.interrupts import Interrupts
from apps.shell.run import run
from apps.shell.session import Exit, Session, describe
from libsel4py import Component, ServerDied, component, set_thread_entry, uses
from libsel4py.bell import Bell
from libsel4py.interfaces.console import Console, EndOfInput, Interrupted
from libsel4py.interfaces.names import Names
from libsel4py.interfaces.system import System

PROMPT = "sel4py> "


def prompt(session: Session) -> str:
    """With the current directory, but for the root."""
    folder = session.place.folder
    return PROMPT if folder == "/" else f"{PROMPT[:-2]} {folder}> "


@component
class Main(Component):
    """One session on one console."""

    console = uses(Console)
    names = uses(Names)
    system = uses(System)

    def __init__(self) -> None:
        self._interrupts = Interrupts()

    def start(self) -> None:
        if self.task.environment.worker_threads:
            bell = Bell.allocate(self.task)
            self._interrupts.begin(self.console, bell.peer.signal, bell.wait)
            set_thread_entry(self._interrupts.watch)

    def run(self) -> int:
        session = Session.begin(self.console, self.names, self.system, self.task.name, self.uses)
        session.tell("sel4py: a microkernel on Linux. help lists the commands.\n")
        while True:
            try:
                line = self.console.read_line(prompt(session))
            except (Interrupted, ServerDied):
                continue
            except EndOfInput:
                return 0
            try:
                session.keep(line)
                self._interrupts.run(partial(run, session, line))
            except KeyboardInterrupt:
                continue
            except Exit as leaving:
                return leaving.status
            except Exception as error:  # whatever a command comes to, the person is told and asked for the next one
                session.tell(describe(error) + "\n")
