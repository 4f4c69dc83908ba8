# mypy: disable-error-code="empty-body"
"""What a task says of another one that answers wrongly, to the reincarnation server: MINIX 3's complaint.

A complaint names the life that it is about, and ends that life or none: what an answer is worth is found out behind it,
and another life may serve by then. Who may complain of whom stands in the description (``complains_of``).
`libsel4py.complaints` is what a component uses.
"""

from __future__ import annotations

from enum import Enum

import msgspec

from libsel4py.interface import Interface, idempotent, raises
from libsel4py.interfaces.system import NotPermitted
from libsel4py.signature import Word


class Verdict(Enum):
    """What has become of a complaint."""

    ENDED = "ended"  # that life was ended, as by a failure of its own
    LATE = "late"  # that life was over already, or is about to stop: nothing was done
    TOO_OFTEN = "too often"  # the task would be kept down: nothing was done


class Ruling(msgspec.Struct, frozen=True):
    """The verdict, and the number of the task's current life by now, or of its next one where none runs."""

    verdict: Verdict
    life: int


class Complaints(Interface):
    """For tasks with ``complains_of``. Another life of a task has another number, and a higher one."""

    @idempotent
    @raises(NotPermitted)
    def life(self, task: str) -> Word:
        """The number of the task's current life, or of its next one where none runs; for some milliseconds behind an
        end it may be that of the life that has ended, of which a complaint is late.

        Whoever asks before a call, and names that number in the complaint of its answer, complains of who answered: the
        life that was there before the call and is there behind it.

        Raises:
            NotPermitted: the caller may not complain of that task.
        """

    @idempotent
    @raises(NotPermitted)
    def complain(self, task: str, life: Word, why: str) -> Ruling:
        """That life has answered wrongly. It is ended, which counts as its failure, and its group decides what follows.

        A second one of the same life is late. ``why`` is shown, the beginning of it.

        Raises:
            NotPermitted: the caller may not complain of that task.
        """
