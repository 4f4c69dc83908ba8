"""The life of a memory object: made, in use by one pager, terminated."""

from __future__ import annotations

from libsel4py.context import per_thread
from libsel4py.interfaces.memory_object import DataError


def client() -> int | None:
    """Whose call runs on this thread, by its badge; None if it is the task's own."""
    return per_thread.serving.caller.badge if per_thread.serving is not None else None


class Life:
    """Refuses what comes out of order."""

    def __init__(self) -> None:
        self._in_use = self._ended = False
        self._client: int | None = None

    def begin(self) -> bool:
        """A pager begins. Whether it is the next life of one in another task, which has ended without a word.

        Raises:
            DataError: another one has begun already.
        """
        who = client()
        if self._ended:
            raise DataError("the object is terminated")
        again = self._in_use
        if again and (who is None or who != self._client):
            raise DataError("the object has a pager already")
        self._in_use, self._client = True, who
        return again

    @property
    def is_remote(self) -> bool:
        """Whether the pager is another task."""
        return self._client is not None

    @property
    def is_ended(self) -> bool:
        """Whether it was terminated."""
        return self._ended

    def ensure_in_use(self) -> None:
        """Raises DataError before `begin` and after `end`."""
        if not self._in_use:
            raise DataError("the object is terminated" if self._ended else "init comes first")

    def end(self) -> bool:
        """Terminate; whether it was not yet."""
        first = not self._ended
        self._in_use, self._ended = False, True
        return first
