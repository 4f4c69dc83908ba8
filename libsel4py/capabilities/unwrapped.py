"""A capability that is the receiver's own: seL4 hands over its badge, and no capability (manual, 4.2.2)."""

from __future__ import annotations

from libsel4py.capabilities.endpoint import Endpoint


class Unwrapped(Endpoint):
    """A parameter that must be a capability of the endpoint that the request itself goes by.

    The caller passes ``Unwrapped(endpoint.cptr)``. The method finds the capability's ``badge``, which the kernel says,
    so nobody can pretend to hold what he does not; its ``cptr`` is 0, and there is nothing to delete.
    """

    __slots__ = ("badge",)

    def __init__(self, cptr: int, badge: int = 0) -> None:
        super().__init__(cptr)
        self.badge = badge
