"""The life of a memory object: made, in use by one pager, terminated."""

from __future__ import annotations

from libsel4py.capabilities import Notification
from libsel4py.context import per_thread
from libsel4py.interfaces.memory_object import DataError
from libsel4py.task import Task, current_task


def client() -> int | None:
    """Whose call runs on this thread, by its badge; None if it is the task's own."""
    return per_thread.serving.caller.badge if per_thread.serving is not None else None


class Wake:
    """What an object signals its pager by; nothing at first. What came with the request of a pager in another task is
    the object's own from then on, and deleted with the next one's coming or by `end`."""

    def __init__(self) -> None:
        self._notification: Notification | None = None
        self._task: Task | None = None  # whose the capability is, if it is to be deleted

    def __bool__(self) -> bool:
        return self._notification is not None

    def begin(self, notification: Notification | None) -> None:
        """Signal this one, in the place of a former one."""
        self.end()
        self._notification = notification
        if notification is None or client() is None:
            return
        task = current_task()
        if notification.cptr in task.receive.unclaimed:
            task.receive.unclaimed.discard(notification.cptr)
            self._task = task

    def signal(self) -> None:
        """Tell the pager, if there is one to be told."""
        if self._notification is not None:
            self._notification.signal()

    def end(self) -> None:
        """Signal nobody any more."""
        notification, task = self._notification, self._task
        self._notification = self._task = None
        if notification is not None and task is not None:
            task.delete(notification)


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
