"""Who holds what at the beginning, wherever it was read: the values that `kerneld.holdings` gives of RAM, and
`paper.py` of a description that nobody has booted.
"""

from __future__ import annotations

from typing import Final

import msgspec

DEVICE: Final = "device "


class Capability(msgspec.Struct, frozen=True):
    """``kind`` is a name of `abi.CapType`, ``object`` what it names, ``rights`` an `abi.Rights` word (0: has none).

    What untyped memory names begins with `DEVICE` where it is a device's.
    """

    kind: str
    object: str
    rights: int = 0
    badge: int = 0


class Held(msgspec.Struct, frozen=True):
    """A capability in slot ``slot`` of the CNode ``place``."""

    kind: str
    object: str
    rights: int
    badge: int
    place: str
    slot: int


class Thread(msgspec.Struct, frozen=True):
    """A thread; a text is empty where it has no such thing. ``handlers``: endpoints that are told its faults."""

    name: str
    tcb: str
    cnode: str
    vspace: str
    handlers: tuple[Capability, ...]
    notification: str
    is_initial: bool


class Mapped(msgspec.Struct, frozen=True):
    """A frame that an address space has, whoever holds the capability."""

    vspace: str
    frame: str
    rights: int


class Holdings(msgspec.Struct, frozen=True):
    threads: tuple[Thread, ...]
    capabilities: tuple[Held, ...]
    mapped: tuple[Mapped, ...]


def read(value: object) -> Holdings:
    """From plain values. Raises msgspec.ValidationError if they are no holdings."""
    return msgspec.convert(value, Holdings)
