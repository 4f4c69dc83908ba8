# mypy: disable-error-code="empty-body"
"""A data store: named values and capabilities (data spaces above all), and who wants to know when they change.

    store.publish("printer/state", "out of paper", Publish.OVERWRITE)
    store.publish_capability("printer/page", space.share(Rights.READ))
    store.subscribe("printer/", notification)          # signalled when a name that begins so changes
    changed = store.changed("printer/")                # which ones did

What is published outlives the publisher, and the store's own process. The idea, with its flags, is MINIX 3's data
store; a name is its publisher's until he deletes it. Subscribers give a prefix and no pattern, since a pattern can take
a hostile client's time to match.
"""

from __future__ import annotations

from enum import IntFlag
from typing import Final

import msgspec

from libsel4py.capabilities import Capability, Notification
from libsel4py.dataspace import SharedMemory
from libsel4py.errors import ServiceError
from libsel4py.interface import Interface, idempotent, local, long_result, remembered
from libsel4py.signature import Word

MOST_NAME_BYTES: Final = 64
MOST_VALUE_BYTES: Final = 600
MOST_NAMES: Final = 64  # of one client
MOST_SUBSCRIPTIONS: Final = 8  # of one client
MOST_CHANGES: Final = 10  # names that one `changed` tells: as many as fit an answer, whatever they are

Plain = int | str | bytes


class Number(msgspec.Struct, frozen=True, array_like=True, tag="int"):
    """A value on its way: a number of 64 bits."""

    value: int


class Text(msgspec.Struct, frozen=True, array_like=True, tag="str"):
    """A value on its way."""

    value: str


class Data(msgspec.Struct, frozen=True, array_like=True, tag="bytes"):
    """A value on its way."""

    value: bytes


Value = Number | Text | Data


class UnknownName(ServiceError):
    """Nothing of this name is published, or it is another client's private value."""


class NameTaken(ServiceError):
    """The name is another client's; or the caller's, and it was not to be overwritten."""


class NotSuch(ServiceError):
    """There is a capability where a value was asked for, or the other way round."""


class TooMuch(ServiceError):
    """A name, a value or a prefix is too long, or empty; or the client, or the store, has as much as it may have."""


class Publish(IntFlag):
    """How a name is published."""

    NEW = 0
    OVERWRITE = 1  # the caller's own value of this name is replaced
    PRIVATE = 2  # nobody else sees it


class Published(msgspec.Struct, frozen=True, array_like=True):
    """A name, and what there is: ``int``, ``str``, ``bytes`` or ``capability``."""

    name: str
    kind: str
    private: bool


class Changed(msgspec.Struct, frozen=True, array_like=True):
    """Names that were published, overwritten or deleted.

    Attributes:
        more: there are others, which the next call tells. all: there were too many: everything may have changed.
    """

    names: list[str]
    more: bool = False
    all: bool = False


class DataStore(Interface):
    """Each method is durable, and has happened as a whole or not at all, when it returns."""

    @local
    def publish(self, name: str, value: Plain, flags: int = 0) -> None:
        """As `publish_value`, with a number, text or bytes."""
        match value:
            case int():
                self.publish_value(name, Number(value), flags)
            case str():
                self.publish_value(name, Text(value), flags)
            case bytes():
                self.publish_value(name, Data(value), flags)

    @local
    def retrieve(self, name: str) -> Plain:
        """As `retrieve_value`: a number, text or bytes."""
        return self.retrieve_value(name).value

    @remembered
    def publish_value(self, name: str, value: Value, flags: Word) -> None:
        """Give a name a value: a number of 64 bits, or up to 600 bytes. ``flags``: `Publish`.

        Raises:
            NameTaken, TooMuch. JournalFull: the store has no room left.
        """

    @idempotent
    def publish_capability(self, name: str, capability: Capability, flags: Word) -> None:
        """Give a name a capability, in the place of what the caller has published there (`Publish.OVERWRITE` goes
        without saying). The store keeps a copy; whoever made it can revoke that. Raises NameTaken, TooMuch."""

    @idempotent
    def retrieve_value(self, name: str) -> Value:
        """A name's value. Raises UnknownName, NotSuch."""

    @idempotent
    def retrieve_capability(self, name: str) -> Capability:
        """A copy of a name's capability. Raises UnknownName, also where it was revoked, NotSuch."""

    @remembered
    def delete(self, name: str) -> None:
        """Take the caller's own name back. Raises UnknownName."""

    @idempotent
    @long_result
    def names(self, prefix: str = "") -> list[Published]:
        """What the caller may retrieve and begins so, sorted."""

    @idempotent
    def subscribe(self, prefix: str, wake: Notification) -> None:
        """Have a notification signalled when a name that begins so changes, its caller's own included.

        A subscription of the same prefix is replaced; what it has to tell stays. Raises TooMuch.
        """

    @idempotent
    def unsubscribe(self, prefix: str) -> None:
        """End the caller's subscription of this prefix, if there is one."""

    @remembered
    def changed(self, prefix: str) -> Changed:
        """What has changed since this was asked last. Raises UnknownName: the caller has no such subscription."""

    @local
    def retrieve_memory(self, name: str) -> SharedMemory:
        """As `retrieve_capability`, of what was published as a data space; `DataSpace.receive` takes it."""
        return SharedMemory(self.retrieve_capability(name).cptr)
