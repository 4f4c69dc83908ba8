"""The data store: named values and capabilities that outlive their publishers, and this process.

Must be given: ``state``, and in ``state_slots`` a slot for each capability that is to be published and for each
subscription; without, all ends with this process. Where a store has several clients, one of them takes half of its
slots and of its state at most. Who publishes and subscribes needs the right to grant (``"wgp"``)
for what brings a capability.

A change, and what subscribers are to be told of it, are one record. A subscriber is signalled after that; one that
this process could not signal any more, its next life does.
"""

from __future__ import annotations

from collections.abc import Callable

from libsel4py import JournalFull, Kept, component
from libsel4py.abi import CapType
from libsel4py.capabilities import Capability, Notification
from libsel4py.interfaces.data_store import Changed, DataStore, Publish, Published, TooMuch, UnknownName, Value
from libsel4py.lowlevel.cspace import OutOfSlots
from libsel4py.lowlevel.identify import identify
from libsel4py.signature import Word
from libsel4py.slot_shares import OF_A_CLIENT
from libsel4py.state import StateSlots
from servers.datastore.contents import UNBOUNDED, Contents, Entry, Share, Subscription, size_of


@component
class Main(DataStore):
    """One store."""

    def __init__(self) -> None:
        self._slots = StateSlots(self.task)
        self._kept: Kept[Contents] = self.kept(Contents)
        self._slot_count = self.task.environment.state_slots or self.task.slots.free_count
        self._contents.forget_others(self._slots.begin(self._contents.slots()))
        self._kept.commit()

    def start(self) -> None:
        for subscription in self._contents.subscriptions:
            if subscription.pending or subscription.all:
                Notification(subscription.slot).signal()

    @property
    def _contents(self) -> Contents:
        return self._kept.value

    def publish_value(self, name: str, value: Value, flags: Word) -> None:
        owner = self.caller.badge
        self._contents.ensure_publishable(name, owner, size_of(value), flags, self._share())
        self._put(name, Entry(owner, bool(flags & Publish.PRIVATE), value))

    def publish_capability(self, name: str, capability: Capability, flags: Word) -> None:
        owner = self.caller.badge
        flags |= Publish.OVERWRITE
        self._contents.ensure_publishable(name, owner, size_of(None), flags, self._share(), slots=1)
        slot = self._keep(capability)
        try:
            self._put(name, Entry(owner, bool(flags & Publish.PRIVATE), None, slot))
        except TooMuch:
            self._slots.drop(slot)
            raise

    def retrieve_value(self, name: str) -> Value:
        return self._contents.value(name, self.caller.badge)

    def retrieve_capability(self, name: str) -> Capability:
        slot = self._contents.slot(name, self.caller.badge)
        if identify(slot).type == CapType.NULL.name:
            raise UnknownName(f"what was published as {name!r} was revoked")
        return Capability(slot)

    def delete(self, name: str) -> None:
        entry = self._contents.delete(name, self.caller.badge)
        self._tell(name, entry, entry.slot)

    def names(self, prefix: str = "") -> list[Published]:
        return self._contents.listed(prefix, self.caller.badge)

    def subscribe(self, prefix: str, wake: Notification) -> None:
        contents, owner = self._contents, self.caller.badge
        contents.ensure_subscribable(prefix, owner, self._share())
        if identify(wake.cptr).type != CapType.NOTIFICATION.name:
            raise TooMuch("what is signalled is a notification, and this is none")
        slot = self._keep(wake)
        former = contents.subscription(prefix, owner)
        before = 0
        if former is None:
            contents.subscriptions.append(Subscription(owner, prefix, slot))
        else:
            before, former.slot = former.slot, slot
        try:
            self._commit()
        except TooMuch:
            self._slots.drop(slot)
            raise
        if before:
            self._slots.drop(before)

    def unsubscribe(self, prefix: str) -> None:
        found = self._contents.subscription(prefix, self.caller.badge)
        if found is not None:
            self._contents.subscriptions.remove(found)
            self._commit(lambda: self._slots.drop(found.slot))

    def changed(self, prefix: str) -> Changed:
        return self._contents.take_changed(prefix, self.caller.badge)

    # --- what they do -----------------------------------------------------------------------------------------

    def _share(self) -> Share:
        """What the caller may take: all, if there is nobody else."""
        client = self.caller.badge
        parts = 1 if self.server.connections.keys() <= {client} and self._contents.is_alone(client) else OF_A_CLIENT
        most_bytes = self._kept.most_bytes
        return Share(self._slot_count // parts, UNBOUNDED if most_bytes is None else most_bytes // parts)

    def _put(self, name: str, entry: Entry) -> None:
        former = self._contents.entries.get(name)
        self._contents.entries[name] = entry
        self._tell(name, entry, former.slot if former is not None else 0)

    def _tell(self, name: str, entry: Entry, emptied: int) -> None:
        """Commit a change of this name; then empty the slot that is used no more, and signal who wants to know."""
        told = [Notification(subscription.slot) for subscription in self._contents.note(name, entry, self._share())]

        def then() -> None:
            if emptied:
                self._slots.drop(emptied)
            for notification in told:
                notification.signal()

        self._commit(then)

    def _keep(self, capability: Capability) -> int:
        try:
            return self._slots.put(capability)
        except OutOfSlots as error:
            raise TooMuch(f"the store has no room for another capability: {error}") from error

    def _commit(self, then: Callable[[], None] | None = None) -> None:
        try:
            self._kept.commit(then)
        except JournalFull as error:
            raise TooMuch(f"the store is full: {error}") from error
