"""The kernel's own time, charged to whom it was spent for.

Whoever makes a system call on a scheduling context that has a budget pays for it as for its own time: a thread that
does nothing but ask, and sleeps while the kernel works, would use almost nothing of its budget and all of the kernel.
Of each system call all counts that is done before the kernel takes the next one: the call itself, what the host is
told because of it, and the completion. It is charged when the context is charged the next time (`budgets.py`); a kernel
that is killed between forgets it, which is one system call at most. A server's time is its own, and so is the kernel's
for what the server asks.

What a device does, moving bytes between RAM and the host above all, is done by the kernel for whoever has rung it last:
a driver that does nothing but ask for large transfers would else use almost nothing of its budget and all of the
kernel. Frames that come in count as well, since the buffers that they come into are the driver's. A kernel that is
started again has forgotten who rang, until the next time; a driver begins by a reset of its device, which rings, so no
former one pays for it.

Round robin is not held to anything, and its calls are not timed. Virtual time has its own step for a system call.

Source: SEL4 `updateTimestamp` at each entry into the kernel: what passes from there on is the current context's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Final

NOBODY: Final = nullcontext()


class Service:
    """Who pays for what the kernel does now, and what each owes for what was done before.

    Args:
        time: microseconds that the kernel has run.
    """

    __slots__ = ("_is_for_device", "_owed", "_payer", "_ringers", "_since", "_time")

    def __init__(self, time: Callable[[], int] = lambda: 0) -> None:
        self._time = time
        self._payer = 0
        self._since = 0
        self._owed: dict[int, int] = {}
        self._ringers: dict[int, int] = {}  # contexts, by device
        self._is_for_device = False

    def begin(self, context: int) -> None:
        """A thread that runs on the context at this address has entered the kernel."""
        self._payer = context
        self._since = self._time()

    def end(self) -> None:
        """What was done for it is done. No harm where it was for nobody."""
        payer = self._payer
        if not payer:
            return
        self._payer = 0
        self._owe(payer, self._time() - self._since)

    def _owe(self, payer: int, spent: int) -> None:
        if spent:
            self._owed[payer] = self._owed.get(payer, 0) + spent

    def rang(self, device: int) -> None:
        """Whoever the kernel works for now has this device look: what that does from now on is done for it. A device
        that has itself look changes nothing."""
        if self._payer:
            self._ringers[device] = self._payer
        elif not self._is_for_device:
            self._ringers.pop(device, None)

    def turn_of(self, device: int) -> AbstractContextManager[None]:
        """Meanwhile the kernel works for this device."""
        return self._turn(device) if device in self._ringers else NOBODY

    @contextmanager
    def _turn(self, device: int) -> Iterator[None]:
        since = self._time()
        self._is_for_device = True
        try:
            yield
        finally:
            self._is_for_device = False
            payer = self._ringers.get(device)  # the context may be gone by now
            if payer is not None:
                self._owe(payer, self._time() - since)

    def take(self, context: int) -> int:
        """The microseconds that it owes, and owes no more."""
        return self._owed.pop(context, 0)

    def forget(self, context: int) -> None:
        """There is none at this address any more: what was done for it, and is being done, is nobody's."""
        self._owed.pop(context, None)
        if self._payer == context:
            self._payer = 0
        self._ringers = {device: payer for device, payer in self._ringers.items() if payer != context}
