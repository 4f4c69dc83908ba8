"""A frame's memory is taken from those who have lost it, and those who still have it go on: a state machine a frame.

    SCHEDULED  losses of one turn (a revoke) make one refill
    ASKING     those who still may write are told UNMAP: their threads fault and wait. Those who could write and may no
               more have been told. Who does not run is kept stopped; who has not said DONE after ASK_S is stopped, for
               as long as the bytes move
    MOVING     the bytes move to a new memfd (or to RAM, if nobody has the frame mapped any more), a chunk a piece
    WITHDRAWING  the old memfd is taken away from everybody
    DONE       the new one is handed to all who still have the frame mapped

So a process that obeys loses no store, and one that does not cannot keep the frame, nor anybody waiting. A frame that
was in RAM so far moves to its first memfd in the same way, and there is nobody to ask.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import Enum
from functools import partial
from typing import Final

from kerneld.host.chores import Chores
from kerneld.host.frame_memory import FrameMemory, Move
from kerneld.host.frame_use import FrameUse, Holding
from kerneld.host.process import Phase, Process

ASK_S: Final = 0.05
MOST_ASKED: Final = 64  # mappings of the frame in one process; one with more is stopped


class State(Enum):
    SCHEDULED = 1
    ASKING = 2
    MOVING = 3
    WITHDRAWING = 4
    DONE = 5


class Refill:
    """One frame's.

    Args:
        losing: called right before the memory that the frame has is given up.
        done: told the refill. ended: told it when nothing of it is left to do, also where the frame was destroyed.
    Attributes:
        error: why the frame could get no memfd; its bytes are in RAM then.
        replaced: nobody has any more what was handed before.
    """

    def __init__(
        self,
        use: FrameUse,
        memory: FrameMemory,
        loop: asyncio.AbstractEventLoop,
        chores: Chores,
        losing: Callable[[int], None],
        done: Callable[[Refill], None],
        ended: Callable[[Refill], None],
    ) -> None:
        self.use = use
        self.error: OSError | None = None
        self.replaced = False
        self._memory = memory
        self._loop = loop
        self._chores = chores
        self._losing = losing
        self._done = done
        self._ended = ended
        self._state = State.SCHEDULED
        self._asked: dict[Holding, None] = {}
        self._stopped: dict[Process, None] = {}  # tasks decide how many
        self._timer: asyncio.TimerHandle | None = None
        self._move: Move | None = None

    def begin(self) -> bool:
        """Ask; or go on at once, if nobody must be asked. Always False: it is a chore's only piece."""
        if self._state is State.SCHEDULED:
            self._state = State.ASKING
            self._ask()
        return False

    def hurry(self) -> None:
        """Have moved when this returns: the frame becomes a trap frame, whose memory cannot be replaced."""
        self.begin()
        self._late()
        self.finish_move()

    def finish_move(self) -> None:
        """Where its bytes are moving, have them moved when this returns."""
        while self._state is State.MOVING:
            self._piece()

    def forget(self, process: Process) -> None:
        """The process ends: it stores nothing any more."""
        for holding in [each for each in self._asked if each.process is process]:
            self.answered(holding)

    def asks(self, holding: Holding) -> bool:
        """Whether the keeper is to say that nothing is stored by this mapping any more, and has not yet."""
        return holding in self._asked

    def answered(self, holding: Holding) -> None:
        """Nothing is stored by this mapping any more."""
        if self._asked.pop(holding, holding) is None and not self._asked and self._timer is not None:
            self._start()

    def abandon(self) -> None:
        """The frame was destroyed."""
        if self._move is not None and self._state is State.MOVING:
            self._move.abandon()
        withdrawing = self._state is State.WITHDRAWING
        self.close()
        if not withdrawing:
            self._ended(self)

    def close(self) -> None:
        """Do nothing any more."""
        self._state = State.DONE
        self._release()

    def _ask(self) -> None:
        writers: list[Holding] = []
        for process, holdings in self.use.writers.items():
            if process.is_stopped or len(holdings) > MOST_ASKED:
                self._stop(process)
            if len(holdings) <= MOST_ASKED:
                writers += holdings
        leaving = [each for each in self.use.leaving.values() if each.process.phase is not Phase.ENDING]
        for each in leaving:
            if each.process.is_stopped:
                self._stop(each.process)
        self._asked = dict.fromkeys((*writers, *leaving))
        for each in writers:
            each.process.map_mail.unmap(each.address, self.use.size, partial(self.answered, each))
        for each in [each for each in self._asked if each.process in self._stopped]:
            del self._asked[each]
        if self._state is State.ASKING:
            if self._asked:
                self._timer = self._loop.call_later(ASK_S, self._late)
            else:
                self._start()

    def _late(self) -> None:
        """Who has not answered by now does not run while its memory is exchanged."""
        if self._state is State.ASKING:
            for each in self._asked:
                self._stop(each.process)
            self._asked.clear()
            self._start()

    def _stop(self, process: Process) -> None:
        if process not in self._stopped:
            self._stopped[process] = None
            process.hold_still(True)

    def _start(self) -> None:
        self._state = State.MOVING
        self._cancel_timer()
        use = self.use
        if use.address in self._memory:
            self.replaced = True
            use.replaced()
            self._losing(use.address)
        elif not use.is_wanted:
            self._finish()
            return
        self._move = self._new_move()
        if self._move is None:
            self._finish()
        elif self._piece():
            self._chores.add(self._piece)

    def _new_move(self) -> Move | None:
        use = self.use
        try:
            return self._memory.move(use.address, use.size, use.is_wanted, self._finish)
        except OSError as error:
            self.error = error
        return self._memory.move(use.address, use.size, False, self._finish) if self.replaced else None

    def _piece(self) -> bool:
        """Move a chunk. False if there is nothing left to do."""
        if self._state is not State.MOVING:
            return False
        assert self._move is not None
        if self._move.step():
            return True
        if self._state is State.MOVING:
            self._state = State.WITHDRAWING
        return False

    def _finish(self) -> None:
        """What was before is nobody's any more. Who was stopped may run again, and finds nothing there."""
        if self._state is not State.DONE:
            self._state = State.DONE
            self._move = None
            self._done(self)
            self._release()
        self._ended(self)

    def _release(self) -> None:
        self._cancel_timer()
        self._asked.clear()
        for process in self._stopped:
            process.hold_still(False)
        self._stopped.clear()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
