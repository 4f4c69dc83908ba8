"""The monitor's half of the fd store: what a kernel that is started again will need and RAM cannot hold.

An entry has a key, a note (plain values) and, mostly, a descriptor. Messages over a SOCK_SEQPACKET socket, msgpack:

    {"op": "keep", "key": …, "note": …, "was": …, "drop": […]}    with a descriptor; what the key had becomes `was`
    {"op": "keep_some", "keys": […], "note": …}                   with a descriptor for each key
    {"op": "note", "key": …, "note": …}                           the descriptor, if there is one, stays
    {"op": "rename", "key": …, "to": …, "drop": […]}              nothing happens where there is no such key
    {"op": "drop", "keys": […]}

Each is done whole or not at all. To a kernel that takes over all entries are sent, some to a message:

    {"op": "have", "entries": [[key, note, has a descriptor], …]}  with the descriptors, in order

The kernel's half is kerneld/host/fd_store.py.
"""

from __future__ import annotations

import math
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import msgpack

from hw.descriptor_passing import send_descriptors

TAKEN_TOGETHER: Final = 32  # descriptors of a message of the kernel's
ENTRIES_TOGETHER: Final = 64  # of one message; SCM_MAX_FD is 253


class Entry(NamedTuple):
    """What is kept under a key. ``descriptor``: -1 for none."""

    descriptor: int
    note: object


@dataclass
class FdStore:
    """What the kernel has asked to be kept, by key."""

    kept: dict[str, Entry] = field(default_factory=dict)

    def take(self, message: Mapping[str, object], descriptors: Sequence[int]) -> None:
        """One message of the kernel's. What it does not keep is closed."""
        match message:
            case {"op": "keep", "key": str(key), "note": note, "was": str(was), "drop": list(keys)} if (
                len(descriptors) == 1
            ):
                if was and key in self.kept:
                    self._put(was, self.kept.pop(key))
                self._put(key, Entry(descriptors[0], note))
                self._forget(keys)
                return
            case {"op": "keep_some", "keys": list(keys), "note": note} if len(keys) == len(descriptors):
                for key, descriptor in zip(keys, descriptors, strict=True):
                    self._put(str(key), Entry(descriptor, note))
                return
            case {"op": "note", "key": str(key), "note": note}:
                self.kept[key] = Entry(self.kept[key].descriptor if key in self.kept else -1, note)
            case {"op": "rename", "key": str(key), "to": str(to), "drop": list(keys)}:
                if key in self.kept:
                    self._put(to, self.kept.pop(key))
                self._forget(keys)
            case {"op": "drop", "keys": list(keys)}:
                self._forget(keys)
        close_all(descriptors)

    def hand(self, channel: socket.socket, more: Mapping[str, int]) -> None:
        """Send all entries, and ``more`` descriptors by their keys, to a kernel that takes over.

        Raises:
            OSError: it has ended, or the host has had no room for descriptors on their way for the channel's time-out.
        """
        limit = channel.gettimeout()
        entries = [(key, Entry(descriptor, None)) for key, descriptor in more.items()] + list(self.kept.items())
        for start in range(0, len(entries), ENTRIES_TOGETHER):
            some = entries[start : start + ENTRIES_TOGETHER]
            plain = [(key, entry.note, entry.descriptor >= 0) for key, entry in some]
            data = msgpack.packb({"op": "have", "entries": plain})
            descriptors = [entry.descriptor for _, entry in some if entry.descriptor >= 0]
            send_descriptors(channel, data, descriptors, math.inf if limit is None else limit)

    def close(self) -> None:
        self._forget(list(self.kept))

    def _put(self, key: str, entry: Entry) -> None:
        self._forget([key])
        self.kept[key] = entry

    def _forget(self, keys: Sequence[str]) -> None:
        for key in keys:
            entry = self.kept.pop(key, None)
            if entry is not None and entry.descriptor >= 0:
                os.close(entry.descriptor)


def close_all(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
