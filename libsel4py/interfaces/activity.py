# mypy: disable-error-code="empty-body"
"""Activities: principals that pay for what is done on their behalf, and who may decide over them (Viengoos).

A request brings an activity along; whoever serves it, and whoever that one calls, has the memory for it from the
activity, and not of his own. The weak capability is enough for that: it says who pays. What the activity may have,
which parts it has, and when it ends is decided by the other one alone, which its owner keeps.

Source: Viengoos, "activity" (weak references to activities permit no change of policy).
"""

from __future__ import annotations

from libsel4py.capabilities import Endpoint, Untyped
from libsel4py.errors import NotEnoughMemory, ServiceError
from libsel4py.interface import Interface, raises
from libsel4py.signature import Word


class ActivityGone(ServiceError):
    """The activity was destroyed, or its owner has taken the memory back."""


class TooManyActivities(ServiceError):
    """The client has as many activities as one may have."""


class WeakActivity(Interface):
    """Somebody who pays."""

    @raises(NotEnoughMemory)
    def memory(self, size_bits: int) -> Untyped:
        """2**size_bits bytes, charged to the activity and to all above it, until it is destroyed.

        Raises:
            NotEnoughMemory: that would be more than it, or one above it, may have; or it has no block so large.
            ActivityGone.
        """

    def usage(self) -> tuple[Word, Word]:
        """Bytes that are charged to it, and how many may be. Raises ActivityGone."""


class Activity(WeakActivity, interface=True):
    """The same, for who decides. Each method raises ActivityGone."""

    def weak(self) -> Endpoint:
        """The same activity as a `WeakActivity`: what is handed to those who work on its behalf."""

    def child(self, limit: Word) -> Endpoint:
        """An activity within this one, of ``limit`` bytes at most, which all above it pay for. Raises
        TooManyActivities."""

    def set_limit(self, limit: Word) -> None:
        """How many bytes may be charged to it from now on. What it has already it keeps."""

    def destroy(self) -> None:
        """All that was allocated under it, and under those within it, is gone, in every task."""


class Activities(Interface):
    """Makes activities."""

    def open(self, pool: Untyped) -> Endpoint:
        """An `Activity` of memory that the caller lends. Its revoking ends the activity as well.

        Raises:
            TooManyActivities. InvalidMessage: it is no plain untyped memory.
        """
