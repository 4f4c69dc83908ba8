"""The pty back end: the UART's other end is a pseudo-terminal that any terminal program of the same user can open.

Its path is published as a symbolic link (`console` in the runtime folder). The terminal's own end is kept open here,
so that it stays when a program closes it: the carrier never drops.
"""

from __future__ import annotations

import asyncio
import os
import tty
from pathlib import Path

from hw.devices.descriptors import DescriptorBackend
from hw.devices.serial_line import SerialLine


def open_terminal() -> tuple[int, int]:
    """A new pseudo-terminal that passes all bytes on: our end, and the terminal's."""
    ours, theirs = os.openpty()
    try:
        tty.setraw(theirs)
        os.set_blocking(ours, False)
    except BaseException:
        os.close(ours)
        os.close(theirs)
        raise
    return ours, theirs


class PtyBackend:
    """Publishes a pseudo-terminal at `link`, in place of a link that an ended system left there.

    ``terminal``: both ends, which become the back end's to close; None has it make them.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        line: SerialLine,
        link: Path,
        terminal: tuple[int, int] | None = None,
    ) -> None:
        self._ours, self._theirs = terminal or open_terminal()
        self._link = link
        try:
            self.path = os.ttyname(self._theirs)
            link.unlink(missing_ok=True)
            link.symlink_to(self.path)
        except BaseException:
            os.close(self._ours)
            os.close(self._theirs)
            raise
        self._backend = DescriptorBackend(loop, line, self._ours, self._ours)

    def kicked(self) -> None:
        self._backend.kicked()

    def close(self) -> None:
        self._backend.close()
        self._link.unlink(missing_ok=True)
        os.close(self._ours)
        os.close(self._theirs)
