"""A frame's memory is taken from those who have lost it, and those who still have it go on: a state machine a frame.

    SCHEDULED  losses of one turn (a revoke) make one refill
    ASKING     those who still may write are told UNMAP: their threads fault and wait. Those who could write and may no
               more have been told. Who does not run is kept stopped; who has not said DONE after ASK_S is stopped, for
               as long as the bytes move
    RESTING    the host comes to stop those
    MOVING     the bytes move to a new memfd (or to RAM, if nobody has the frame mapped any more), a chunk a piece
    WITHDRAWING  the old memfd is taken away from everybody
    DONE       the new one is handed to all who still have the frame mapped

So a process that obeys loses no store, and one that does not cannot keep the frame, nor anybody waiting for long.
Everybody who takes memory away waits for all that is being lost: so who has kept them is given HURRIED_S instead of
ASK_S, for HURRIED_TIMES as long as that took. A frame that was in RAM so far moves to its first memfd in the same way,
and there is nobody to ask.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable
from enum import Enum
from functools import partial
from typing import Final

from kerneld.host.chores import Chores
from kerneld.host.frame_memory import FrameMemory, Move
from kerneld.host.frame_use import FrameUse, Holding
from kerneld.host.linux import Stopping
from kerneld.host.process import Phase, Process

ASK_S: Final = 0.05
HURRIED_S: Final = 0.002  # many times what a keeper takes where a processor is free
HURRIED_TIMES: Final = 100  # so it can keep others for one part in so many of the time, and HURRIED_S each time
REST_S: Final = 0.05  # at most: a thread that waits for the host's disk, say, is not stopped before it has it
LOOK_S: Final = 0.0002
MOST_ASKED: Final = 64  # mappings of the frame in one process; one with more is stopped


class State(Enum):
    SCHEDULED = 1
    ASKING = 2
    RESTING = 3
    MOVING = 4
    WITHDRAWING = 5
    DONE = 6


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
        self._errand = chores.errand()  # who has the frame exchanged
        self._losing = losing
        self._done = done
        self._ended = ended
        self._state = State.SCHEDULED
        self._asked: dict[Holding, None] = {}
        self._stopped: dict[Process, None] = {}  # tasks decide how many
        self._timer: asyncio.TimerHandle | None = None
        self._since = 0.0  # by the loop's time, of the state
        self._resting: list[Process] = []
        self._stopping: Stopping | None = None  # the last of these
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
        if self._state is State.ASKING:
            self._are_late(self._asked)
            self._rest()
        while self._state is State.RESTING:
            self._cancel_timer()
            if not self._look():
                os.sched_yield()
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
            self._has_kept_waiting(holding.process)
            self._rest()

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
        if self._state is not State.ASKING:
            return
        if not self._asked:
            self._rest()
            return
        self._since = now = self._loop.time()
        if any(now < each.process.hurried_until for each in self._asked):
            self._timer = self._loop.call_later(HURRIED_S, self._hurried_late)
        else:
            self._timer = self._loop.call_later(ASK_S, self._late)

    def _hurried_late(self) -> None:
        self._are_late([each for each in self._asked if self._since < each.process.hurried_until])
        if self._asked:
            self._timer = self._loop.call_later(ASK_S - HURRIED_S, self._late)
        else:
            self._rest()

    def _late(self) -> None:
        self._are_late(self._asked)
        self._rest()

    def _are_late(self, asked: Iterable[Holding]) -> None:
        """Who was to have answered by now does not run while its memory is exchanged."""
        for each in tuple(asked):
            del self._asked[each]
            if each.process not in self._stopped:
                self._has_kept_waiting(each.process)
                self._stop(each.process)

    def _has_kept_waiting(self, process: Process) -> None:
        now = self._loop.time()
        if (waited := now - self._since) > HURRIED_S:
            process.hurried_until = max(process.hurried_until, now + HURRIED_TIMES * waited)

    def _rest(self) -> None:
        self._cancel_timer()
        self._resting = list(self._stopped)
        if self._resting:
            self._state = State.RESTING
            self._since = self._loop.time()
            self._chores.add(self._look, self._errand)
        else:
            self._start()

    def _look(self) -> bool:
        """Look at some threads of one of those that are being stopped. False if there is nothing left to do now."""
        if self._state is not State.RESTING:
            return False
        if self._stopping is None:
            self._stopping = self._resting[-1].stopping
        at_rest = self._stopping.look()
        if not at_rest and self._loop.time() < self._since + REST_S:
            if at_rest is None:
                return True
            self._timer = self._loop.call_later(LOOK_S, self._chores.add, self._look, self._errand)
            return False
        self._resting.pop()
        self._stopping = None
        if not self._resting:
            self._start()
        return bool(self._resting)

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
            self._chores.add(self._piece, self._errand)

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
