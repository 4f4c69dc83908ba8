"""Draws on a framebuffer: colour bars, and a line that moves down by one with each picture.

Must be given: a device ``screen``. Settings: ``pictures``, after which it ends (0: never); ``pause``, seconds from one
to the next (0.1).
"""

from __future__ import annotations

from typing import Final

from libsel4py import Component, Timeout, component
from libsel4py.framebuffer import PIXEL_BYTES, Framebuffer

BARS: Final = (0xFFFFFF, 0xFFFF00, 0x00FFFF, 0x00FF00, 0xFF00FF, 0xFF0000, 0x0000FF, 0x000000)
LINE: Final = 0x808080
LOOK_S: Final = 1.0  # how long an interrupt is waited for, before the device is asked: it may be lost


@component
class Main(Component):
    """The painter."""

    def run(self) -> int:
        settings = self.task.environment.configuration
        most, pause = int(str(settings.get("pictures", 0))), float(str(settings.get("pause", 0.1)))
        screen = Framebuffer(self.task.environment.devices["screen"])
        bars = _bars(screen.width)
        self.log.info("draws %d x %d, from picture %d on", screen.width, screen.height, screen.presented)
        number = 0
        while not most or number < most:
            into = (screen.shown + 1) % screen.pictures
            self._draw(screen, into, bars, number)
            screen.present(into)
            self._wait_shown(screen)
            number += 1
            self._pause(pause)
        return 0

    def _draw(self, screen: Framebuffer, picture: int, bars: bytes, number: int) -> None:
        moving = number % screen.height
        with memoryview(screen.pixels) as pixels:
            for line in range(screen.height):
                at = screen.place(picture, line)
                pixels[at : at + len(bars)] = bars if line != moving else _pixel(LINE) * screen.width

    def _wait_shown(self, screen: Framebuffer) -> None:
        while True:
            self._pause(LOOK_S)
            if screen.acknowledge():
                return

    def _pause(self, seconds: float) -> None:
        """Until something is signalled, or the time is over."""
        try:
            self.task.notification.wait(seconds)
        except Timeout:
            return


def _bars(width: int) -> bytes:
    """A line of them."""
    return b"".join(_pixel(BARS[at * len(BARS) // width]) for at in range(width))


def _pixel(colour: int) -> bytes:
    return colour.to_bytes(PIXEL_BYTES, "little")
