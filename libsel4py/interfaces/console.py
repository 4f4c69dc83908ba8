# mypy: disable-error-code="empty-body"
"""A person at a terminal, shared by several clients."""

from __future__ import annotations

from libsel4py.errors import ServiceError
from libsel4py.interface import Interface, idempotent, local, remembered
from libsel4py.signature import Word

WRITE_CHARACTERS = 220  # at most four bytes each in UTF-8, so that a piece fits one message
MAX_LINE_BYTES = 900  # of UTF-8, of a line that is typed: it fits one message


class EndOfInput(ServiceError):
    """The person closed the terminal (Ctrl-D on an empty line), or the script that was typed in has ended."""


class Interrupted(ServiceError):
    """The person pressed Ctrl-C instead of finishing the line."""


class Console(Interface):
    """Line-wise input with editing, and text output."""

    @remembered
    def write_piece(self, text: str) -> None:
        """Show text; at most 220 characters. Use `write`, which takes any length."""

    @remembered
    def read_line(self, prompt: str, echo: bool = True, history: bool = True) -> str:
        """Show the prompt and wait for a line, without its newline. Waits its turn while others read.

        A line has 900 bytes (UTF-8) at most; what is typed beyond them is refused with a bell.

        Args:
            echo: show what is typed (False for secrets). history: offer former lines of this client, keep this one.
        Raises:
            EndOfInput, Interrupted: the person gave no line.
        """

    @idempotent
    def columns(self) -> int:
        """Width of the terminal in characters; 80 if it is not known."""

    @idempotent
    def wait_interrupt(self, command: Word) -> bool:
        """Wait for Ctrl-C. True: it was typed while nobody read a line, behind the line that this client was handed
        last, and no other client another one since. What was typed before it is dropped, as at any terminal.

        Args:
            command: of what goes on meanwhile; a number above all before. Who waits for an older one hears False.
        """

    @idempotent
    def end_command(self, command: Word) -> None:
        """What goes on is over, and whoever waits for Ctrl-C in it, or will, hears False. It is the next reader's."""

    @local
    def write(self, text: str) -> None:
        """Show text of any length, in pieces."""
        for first in range(0, len(text), WRITE_CHARACTERS):
            self.write_piece(text[first : first + WRITE_CHARACTERS])
