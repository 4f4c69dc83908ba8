"""What the data store holds, and who may see and change it. Pure: capabilities are numbers of slots here.

Rules: a name is its publisher's. What one client can make the store hold is bounded, in names, bytes of values,
subscriptions and changes that nobody asks for; so one client's greed is refused to itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from libsel4py.interfaces.data_store import (
    MOST_CHANGES,
    MOST_NAME_BYTES,
    MOST_NAMES,
    MOST_SUBSCRIPTIONS,
    MOST_VALUE_BYTES,
    Changed,
    Data,
    NameTaken,
    NotSuch,
    Publish,
    Published,
    Text,
    TooMuch,
    UnknownName,
    Value,
)

MOST_BYTES: Final = 8192  # of one client's values
MOST_PENDING: Final = 32  # changes of one subscription; beyond them, all may have changed


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """What a name stands for: a value, or the capability in a slot."""

    owner: int
    private: bool
    value: Value | None
    slot: int = 0

    @property
    def kind(self) -> str:
        return type(self.value.value).__name__ if self.value is not None else "capability"


class Subscription(msgspec.Struct, array_like=True):
    """Whom to signal (the slot of a notification), and what there is to tell."""

    owner: int
    prefix: str
    slot: int
    pending: list[str] = []
    all: bool = False


class Contents(msgspec.Struct):
    """All of it, as it is kept."""

    entries: dict[str, Entry] = {}
    subscriptions: list[Subscription] = []

    def slots(self) -> list[int]:
        """Those whose capabilities are held."""
        entries = [entry.slot for entry in self.entries.values() if entry.slot]
        return entries + [subscription.slot for subscription in self.subscriptions]

    def forget_others(self, slots: set[int]) -> None:
        """Drop what stands on a slot that is none of these: its capability is gone."""
        gone = [name for name, entry in self.entries.items() if entry.slot and entry.slot not in slots]
        for name in gone:
            del self.entries[name]
        self.subscriptions = [each for each in self.subscriptions if each.slot in slots]

    def visible(self, name: str, reader: int) -> Entry:
        """Raises UnknownName."""
        entry = self.entries.get(name)
        if entry is None or (entry.private and entry.owner != reader):
            raise UnknownName(f"nothing is published as {name!r}")
        return entry

    def value(self, name: str, reader: int) -> Value:
        """Raises UnknownName, NotSuch."""
        entry = self.visible(name, reader)
        if entry.value is None:
            raise NotSuch(f"{name!r} is a capability: ask for that")
        return entry.value

    def slot(self, name: str, reader: int) -> int:
        """Raises UnknownName, NotSuch."""
        entry = self.visible(name, reader)
        if entry.value is not None:
            raise NotSuch(f"{name!r} is a value: ask for that")
        return entry.slot

    def ensure_publishable(self, name: str, owner: int, size: int, flags: int) -> None:
        """Raises NameTaken, TooMuch."""
        _ensure_length(name, 1, "a name")
        if size > MOST_VALUE_BYTES:
            raise TooMuch(f"a value has at most {MOST_VALUE_BYTES} bytes, and this one {size}")
        former = self.entries.get(name)
        if former is not None and former.owner != owner:
            raise NameTaken(f"{name!r} is another client's")
        if former is not None and not flags & Publish.OVERWRITE:
            raise NameTaken(f"{name!r} is published already: say OVERWRITE to replace it")
        mine = [entry for each, entry in self.entries.items() if entry.owner == owner and each != name]
        if len(mine) >= MOST_NAMES:
            raise TooMuch(f"a client publishes at most {MOST_NAMES} names")
        if sum(size_of(entry.value) for entry in mine) + size > MOST_BYTES:
            raise TooMuch(f"a client's values have at most {MOST_BYTES} bytes together")

    def delete(self, name: str, owner: int) -> Entry:
        """Raises UnknownName."""
        entry = self.entries.get(name)
        if entry is None or entry.owner != owner:
            raise UnknownName(f"you have published nothing as {name!r}")
        return self.entries.pop(name)

    def listed(self, prefix: str, reader: int) -> list[Published]:
        return [
            Published(name, entry.kind, entry.private)
            for name, entry in sorted(self.entries.items())
            if name.startswith(prefix) and (entry.owner == reader or not entry.private)
        ]

    # --- subscriptions ----------------------------------------------------------------------------------------

    def subscription(self, prefix: str, owner: int) -> Subscription | None:
        return next((each for each in self.subscriptions if (each.owner, each.prefix) == (owner, prefix)), None)

    def ensure_subscribable(self, prefix: str, owner: int) -> None:
        """Raises TooMuch."""
        _ensure_length(prefix, 0, "a prefix")
        if sum(each.owner == owner and each.prefix != prefix for each in self.subscriptions) >= MOST_SUBSCRIPTIONS:
            raise TooMuch(f"a client has at most {MOST_SUBSCRIPTIONS} subscriptions")

    def note(self, name: str, entry: Entry) -> Iterator[Subscription]:
        """Note that a name has changed; the subscriptions of those who may see it, to be signalled."""
        for each in self.subscriptions:
            if not name.startswith(each.prefix) or (entry.private and entry.owner != each.owner):
                continue
            if name not in each.pending and not each.all:
                each.pending.append(name)
            if len(each.pending) > MOST_PENDING:
                each.pending, each.all = [], True
            yield each

    def take_changed(self, prefix: str, owner: int) -> Changed:
        """Raises UnknownName."""
        found = self.subscription(prefix, owner)
        if found is None:
            raise UnknownName(f"you have no subscription of {prefix!r}")
        told, found.pending = found.pending[:MOST_CHANGES], found.pending[MOST_CHANGES:]
        everything, found.all = found.all, False
        return Changed(told, bool(found.pending), everything)


def size_of(value: Value | None) -> int:
    """Bytes that count."""
    match value:
        case Text(text):
            return len(text.encode())
        case Data(data):
            return len(data)
    return 8


def _ensure_length(text: str, least: int, what: str) -> None:
    if not least <= len(text.encode()) <= MOST_NAME_BYTES:
        raise TooMuch(f"{what} has {least} to {MOST_NAME_BYTES} bytes")
