# mypy: disable-error-code="empty-body"
"""A small store of named values, which survives the loss of power: what was answered is kept."""

from __future__ import annotations

from libsel4py.errors import ServiceError
from libsel4py.interface import Interface, idempotent, long_result, raises

MOST_KEY_BYTES = 200
MOST_VALUE_BYTES = 600  # so that both fit one message


class UnknownKey(ServiceError):
    """There is no value of this name."""


class TooLong(ServiceError):
    """A name has 1 to 200 bytes of UTF-8, a value at most 600 bytes."""


class KeyValue(Interface):
    """Names and values. Each method is durable, and has happened as a whole or not at all, when it returns."""

    @idempotent
    @raises(UnknownKey)
    def get(self, key: str) -> bytes:
        """The value of a name."""

    @raises(TooLong)
    def put(self, key: str, value: bytes) -> None:
        """Give a name a value, in the place of the one that it has."""

    @raises(UnknownKey)
    def delete(self, key: str) -> None:
        """Forget a name."""

    @idempotent
    @long_result
    def keys(self, prefix: str = "") -> list[str]:
        """All names that begin so, sorted."""
