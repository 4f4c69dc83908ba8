"""What the data store holds, and who may see and change it. Pure: capabilities are numbers of slots here.

Rules: a name is its publisher's. What one client can make the store hold is bounded, in names, bytes of values,
subscriptions and changes that nobody asks for, and by its share of what this store has; so one client's greed is
refused to itself.
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
PACKED_BYTES: Final = 40  # that a name or a subscription takes at most beside its text and its value
UNBOUNDED: Final = 1 << 62


class Share(msgspec.Struct, frozen=True):
    """How much of a store one client may take.

    Attributes:
        slots: of capabilities and subscriptions. bytes: of the state. A quarter of them is for what it is to be told.
    """

    slots: int
    bytes: int = UNBOUNDED

    @property
    def told_bytes(self) -> int:
        return self.bytes // 4

    @property
    def kept_bytes(self) -> int:
        return self.bytes - self.told_bytes


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

    def is_alone(self, client: int) -> bool:
        """Whether no other client has anything here."""
        published = all(entry.owner == client for entry in self.entries.values())
        return published and all(each.owner == client for each in self.subscriptions)

    def _ensure_share(
        self, owner: int, share: Share, size: int, slots: int, *, name: str = "", prefix: str | None = None
    ) -> None:
        """``size``, ``slots``: that a name or a subscription takes, in the place of what it is now. Raises TooMuch."""
        for each, entry in self.entries.items():
            if entry.owner == owner and each != name:
                size += PACKED_BYTES + len(each.encode()) + size_of(entry.value)
                slots += 1 if entry.slot else 0
        for subscription in self.subscriptions:
            if subscription.owner == owner and subscription.prefix != prefix:
                size += PACKED_BYTES + len(subscription.prefix.encode())
                slots += 1
        if slots > share.slots:
            raise TooMuch(f"a client's capabilities and subscriptions take at most {share.slots} of the store's slots")
        if size > share.kept_bytes:
            raise TooMuch(f"a client takes at most {share.kept_bytes} bytes of the store's state")

    def ensure_publishable(self, name: str, owner: int, size: int, flags: int, share: Share, *, slots: int = 0) -> None:
        """``slots``: 1 for a capability. Raises NameTaken, TooMuch."""
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
        self._ensure_share(owner, share, PACKED_BYTES + len(name.encode()) + size, slots, name=name)

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

    def ensure_subscribable(self, prefix: str, owner: int, share: Share) -> None:
        """Raises TooMuch."""
        _ensure_length(prefix, 0, "a prefix")
        if sum(each.owner == owner and each.prefix != prefix for each in self.subscriptions) >= MOST_SUBSCRIPTIONS:
            raise TooMuch(f"a client has at most {MOST_SUBSCRIPTIONS} subscriptions")
        self._ensure_share(owner, share, PACKED_BYTES + len(prefix.encode()), 1, prefix=prefix)

    def note(self, name: str, entry: Entry, share: Share) -> Iterator[Subscription]:
        """Note that a name has changed; the subscriptions of those who may see it, to be signalled."""
        for each in self.subscriptions:
            if not name.startswith(each.prefix) or (entry.private and entry.owner != each.owner):
                continue
            if name not in each.pending and not each.all:
                each.pending.append(name)
            if len(each.pending) > MOST_PENDING or self._to_tell(each.owner) > share.told_bytes:
                each.pending, each.all = [], True
            yield each

    def _to_tell(self, owner: int) -> int:
        """Bytes of the names that have changed for a client."""
        mine = (each.pending for each in self.subscriptions if each.owner == owner)
        return sum(2 + len(name.encode()) for pending in mine for name in pending)

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
