"""The loop of a pager: receives faults and signals, and answers them.

Rules: one thread. The reply object of a thread that waits for its page is kept with it, and another takes its place; a
thread that is not answered at all stays stopped, since the next receive takes its reply object away from it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Final

from libsel4py.capabilities import Endpoint, Reply
from libsel4py.environment import SIGNAL_BADGE
from libsel4py.errors import NotEnoughMemory, Timeout
from libsel4py.lowlevel.cspace import OutOfSlots
from libsel4py.lowlevel.syscalls import Message, Received
from libsel4py.pager import Pager, Verdict, Waiter

ANSWERS: Final = {Verdict.RESUME: Message(0), Verdict.REFUSE: Message(1)}
Other = Callable[[Received], Message | None]
_log = logging.getLogger(__name__)


class PagerLoop:
    """Serves a pager's fault endpoint.

    Args:
        endpoint: the threads' fault endpoints lead there, each with the badge of `Pager.add_thread`. A notification
            that is bound to this thread ends the receive as well (its badge has `SIGNAL_BADGE`): objects signal it.
        new_reply: makes reply objects (`Task.new_reply`). reply: the first one, else made.
        other: answers messages with badges that are no thread's; None: it does not answer.
    """

    def __init__(
        self,
        pager: Pager,
        endpoint: Endpoint,
        new_reply: Callable[[], Reply],
        reply: Reply | None = None,
        other: Other = lambda message: None,
    ) -> None:
        self._pager, self._endpoint, self._new_reply, self._other = pager, endpoint, new_reply, other
        self._reply = reply if reply is not None else new_reply()
        self._stopping = False

    def stop(self) -> None:
        """End the loop behind the message that is looked at now."""
        self._stopping = True

    def run(self) -> None:
        """Serve until `stop`."""
        answer: Message | None = None
        while not self._stopping:
            answer = self._step(answer)
        if answer is not None:
            self._reply.send(answer)

    def _step(self, answer: Message | None) -> Message | None:
        timeout = self._pager.next_deadline
        try:
            if answer is None:
                received = self._endpoint.recv(self._reply, timeout)
            else:
                received = self._endpoint.reply_recv(answer, self._reply, timeout)
        except Timeout:
            self._answer(self._pager.expired())
            return None
        return self._serve(received)

    def _serve(self, received: Received) -> Message | None:
        """The answer to what came, if it gets one now."""
        pager = self._pager
        if received.badge & SIGNAL_BADGE:
            self._answer(pager.woken())
            return None
        if not pager.is_thread(received.badge):
            return self._other(received)
        verdict = pager.fault(received)
        if verdict is Verdict.WAIT:
            return self._keep(pager.waiting[-1])
        return ANSWERS.get(verdict)

    def _keep(self, waiter: Waiter) -> Message | None:
        try:
            fresh = self._pager.spare.pop() if self._pager.spare else self._new_reply()
        except (NotEnoughMemory, OutOfSlots) as error:
            _log.error("no reply object for a thread that would wait: %s", error)
            self._pager.waiting.remove(waiter)
            return ANSWERS[Verdict.REFUSE]
        waiter.reply, self._reply = self._reply, fresh
        return None

    def _answer(self, done: Iterable[tuple[Waiter, Verdict]]) -> None:
        for waiter, verdict in done:
            if waiter.reply is not None:
                waiter.reply.send(ANSWERS[verdict])
                self._pager.spare.append(waiter.reply)
