"""The kernel's end of the fd store: what the monitor keeps, so that a kernel that is started again gets it back.

Messages: hw/fd_store.py. Nothing is answered. What is kept is with the monitor when the call returns: what the host
has taken for it, it reads also after this process has been killed. So the kernel waits, where the socket is full, for
a monitor that does nothing but read.

To drop is not urgent: what is dropped within `DROP_S` is told together, so that the end of a thousand channels does not
wake the monitor a thousand times. What is kept afterwards is told afterwards. So a kernel that is started again may be
given what was dropped before: whoever drops leaves a sign in RAM, or in the memory itself, that it is nothing any more.
"""

from __future__ import annotations

import asyncio
import math
import os
import select
import socket
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import msgpack

from hw.descriptor_passing import send_descriptors

DROP_S: Final = 0.005
KEPT_TOGETHER: Final = 32  # descriptors of a message (hw/fd_store.py, TAKEN_TOGETHER)
DROPPED_TOGETHER: Final = 64  # keys; a message has room for them (hw/monitor.py, MESSAGE_BYTES)


class Kept(NamedTuple):
    """What was kept under a key. ``descriptor``: -1 for none; whoever takes it closes it."""

    key: str
    note: object
    descriptor: int


class Inheritance:
    """What a kernel's predecessor had the monitor keep."""

    def __init__(self, entries: Sequence[Kept] = ()) -> None:
        self._entries = {entry.key: entry for entry in entries}

    def __contains__(self, key: str) -> bool:
        return key in self._entries

    def take(self, key: str) -> Kept | None:
        """What was kept under this key. It is the caller's from now on."""
        return self._entries.pop(key, None)

    def take_all(self, kind: str) -> Iterator[tuple[str, Kept]]:
        """All of a kind ("frame" of "frame:1000"), each with the rest of its key."""
        for key in [key for key in self._entries if key.startswith(kind + ":")]:
            yield key[len(kind) + 1 :], self._entries.pop(key)

    def forget_all(self, store: FdStore) -> None:
        """Nobody wants the rest."""
        for entry in self._entries.values():
            store.drop(entry.key)
            if entry.descriptor >= 0:
                os.close(entry.descriptor)
        self._entries.clear()


class FdStore:
    """Sends to the monitor. `channel` None keeps nothing (tests, and systems without a monitor)."""

    def __init__(self, channel: socket.socket | None, loop: asyncio.AbstractEventLoop) -> None:
        self._channel = channel
        self._loop = loop
        self._dropped: list[str] = []  # not told yet
        self._timer: asyncio.TimerHandle | None = None
        if channel is not None:
            channel.setblocking(False)

    def keep(self, key: str, descriptor: int, note: object = None, was: str = "", drop: Sequence[str] = ()) -> None:
        """Have the monitor keep a duplicate under this key, and what it had there under the key `was`, or not at all.

        `drop`: keys that it forgets in the same step.
        """
        self._send({"op": "keep", "key": key, "note": note, "was": was, "drop": list(drop)}, [descriptor])

    def keep_some(self, keys: Sequence[str], descriptors: Sequence[int], note: object) -> None:
        """As `keep`, of `KEPT_TOGETHER` at the most by one message: each under its key, with the same note."""
        self._send({"op": "keep_some", "keys": list(keys), "note": note}, descriptors)

    def note(self, key: str, note: object) -> None:
        """Have the monitor keep a note under this key; a descriptor that it has there stays."""
        self._send({"op": "note", "key": key, "note": note})

    def rename(self, key: str, to: str, drop: Sequence[str] = ()) -> None:
        """Have the monitor keep under another key what it has under this one; `drop` as in `keep`."""
        self._send({"op": "rename", "key": key, "to": to, "drop": list(drop)})

    def drop(self, key: str) -> None:
        """Have the monitor forget what it keeps under this key, if anything, before long."""
        if self._channel is None:
            return
        self._dropped.append(key)
        if len(self._dropped) >= DROPPED_TOGETHER:
            self.tell_dropped()
        elif self._timer is None:
            self._timer = self._loop.call_later(DROP_S, self.tell_dropped)

    def tell_dropped(self) -> None:
        """Have the monitor forget now what was dropped: nothing else would say that it is nothing any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._dropped:
            dropped, self._dropped = self._dropped, []
            self._send({"op": "drop", "keys": dropped})

    def say(self, op: str, **more: object) -> None:
        """Tell the monitor something that is no matter of what it keeps: "runs", "ended" (hw/monitor.py)."""
        self._send({"op": op, **more})

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _send(self, message: dict[str, object], descriptors: Sequence[int] = ()) -> None:
        if self._channel is None:
            return
        if self._dropped:
            self.tell_dropped()
        data = msgpack.packb(message)
        while not self._try_send(self._channel, data, descriptors):
            continue

    def _try_send(self, channel: socket.socket, data: bytes, descriptors: Sequence[int]) -> bool:
        try:
            if descriptors:
                send_descriptors(channel, data, descriptors, math.inf)
            else:
                channel.send(data)
        except BlockingIOError:
            room = select.poll()
            room.register(channel, select.POLLOUT)
            room.poll()
            return False
        except (BrokenPipeError, ConnectionResetError):
            return True  # without its monitor this process ends as well
        return True
