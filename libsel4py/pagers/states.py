"""The life of a memory object: made, in use by one pager, terminated."""

from __future__ import annotations

from libsel4py.interfaces.memory_object import DataError


class Life:
    """Refuses what comes out of order."""

    def __init__(self) -> None:
        self._in_use = self._ended = False

    def begin(self) -> None:
        """A pager begins. Raises DataError if one has begun already."""
        if self._ended:
            raise DataError("the object is terminated")
        if self._in_use:
            raise DataError("the object has a pager already")
        self._in_use = True

    def ensure_in_use(self) -> None:
        """Raises DataError before `begin` and after `end`."""
        if not self._in_use:
            raise DataError("the object is terminated" if self._ended else "init comes first")

    def end(self) -> bool:
        """Terminate; whether it was not yet."""
        first = not self._ended
        self._in_use, self._ended = False, True
        return first
