"""What the threads of the fake kernel have of their own: message areas, and their state for channels."""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from libsel4py import abi
from libsel4py.abi import MESSAGE_MAX_LENGTH, MESSAGE_REGISTERS, Status
from libsel4py.lowlevel.syscalls import Completion
from libsel4py.testing.fake_objects import FakeChannel, FakeEndpoint, FakeObjects, Request


@dataclass(slots=True)
class Area:
    """A thread's message area, and the request by channel that it has to answer."""

    words: list[int] = field(default_factory=lambda: [0] * MESSAGE_MAX_LENGTH)
    caps: tuple[int, int, int] = (0, 0, 0)
    badges: tuple[int, int, int] = (0, 0, 0)
    receive_slot: int = 0
    taken: Request | None = None


class PerThread(threading.local):
    """``calls`` made by channel, and ``requests`` taken from one."""

    def __init__(self) -> None:
        self.area = Area()
        self.bound: dict[int, FakeChannel] = {}
        self.calls = 0
        self.requests = 0


class FakeAreas:
    """The functions of `hw.cpu` that concern the calling thread's message area, and messages in and out of it."""

    def __init__(self) -> None:
        self.objects = FakeObjects()
        self._threads = PerThread()

    def message_write(self, first: int, words: bytes, /) -> None:
        count, rest = divmod(len(words), 8)
        if rest or first + count > MESSAGE_MAX_LENGTH:
            raise ValueError(f"{len(words)} bytes from word {first} on are no words of the message area")
        self._threads.area.words[first : first + count] = struct.unpack(f"<{count}Q", words)

    def message_read(self, first: int, count: int, /) -> bytes:
        return struct.pack(f"<{count}Q", *self._threads.area.words[first : first + count])

    def set_caps(self, cap0: int, cap1: int, cap2: int, /) -> None:
        self._threads.area.caps = (cap0, cap1, cap2)

    def badges(self) -> tuple[int, int, int]:
        return self._threads.area.badges

    def set_receive(self, cnode: int, index: int, depth: int, /) -> None:
        self._threads.area.receive_slot = index

    # --- inside

    @contextmanager
    def _on_area(self, area: Area) -> Iterator[None]:
        former, self._threads.area = self._threads.area, area
        try:
            yield
        finally:
            self._threads.area = former

    def _message(self, info: int, registers: tuple[int, ...]) -> Request:
        length = abi.info_length(info)
        words = (*registers, *self._threads.area.words[MESSAGE_REGISTERS:])[:length]
        return Request(abi.info_label(info), tuple(words), self._threads.area.caps[: abi.info_extra_caps(info)])

    def _deliver(self, message: Request, badge: int, source: FakeEndpoint | None = None) -> Completion:
        """Put a message into the calling thread's area; capabilities go to its receive slot, as seL4 does it."""
        area = self._threads.area
        words = (*message.words, 0, 0, 0, 0)
        area.words[: len(message.words)] = message.words
        extra, unwrapped, badges = 0, 0, [0, 0, 0]
        free = area.receive_slot != 0 and area.receive_slot not in self.objects.caps
        for index, cptr in enumerate(message.caps):
            cap = self.objects.caps.get(cptr) if message.held is None else message.held[index]
            if cap is not None and source is not None and cap.object is source:
                unwrapped |= 1 << index
                badges[index] = cap.badge
            elif cap is not None and free:
                if self.objects.caps.get(cptr) is cap:
                    self.objects.derive(cptr, area.receive_slot)
                else:
                    self.objects.caps[area.receive_slot] = replace(cap, parent=None)
                free = False
            else:
                break
            extra += 1
        area.badges = (badges[0], badges[1], badges[2])
        info = abi.message_info(message.label, len(message.words), extra, unwrapped)
        return (Status.DONE, badge, info, words[0], words[1], words[2], words[3])
