"""The kernel's own time, charged to whom it was spent for.

Whoever makes a system call on a scheduling context that has a budget pays for it as for its own time: a thread that
does nothing but ask, and sleeps while the kernel works, would use almost nothing of its budget and all of the kernel.
Of each system call all counts that is done before the kernel takes the next one: the call itself, what the host is
told because of it, and the completion. It is charged when the context is charged the next time (`budgets.py`); a kernel
that is killed between forgets it, which is one system call at most. A server's time is its own, and so is the kernel's
for what the server asks.

What is done later counts as well (`Errand`). What the host does in pieces, copying a frame above all, is done for
whoever made the call that began it. What a device does is done for whoever has rung it last: a driver that only asks
for large transfers would else use almost nothing of its budget and all of the kernel. Frames that come in count as
well, since the buffers that they come into are the driver's. A kernel that is started again has forgotten for whom it
does what is left of such work, and who rang, until the next time; a driver begins by a reset of its device, which
rings, so no former one pays for it.

Round robin is not held to anything, and its calls are not timed. Virtual time has its own step for a system call.

Source: SEL4 `updateTimestamp` at each entry into the kernel: what passes from there on is the current context's.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import Final

NOBODY_S: Final = nullcontext()


class Account:
    """What a context owes, in microseconds. That of a context which is gone is nobody's."""

    __slots__ = ("owed",)

    def __init__(self) -> None:
        self.owed = 0


class Service:
    """Who pays for what the kernel does now, and what each owes for what was done before.

    Args:
        time: microseconds that the kernel has run.
    """

    __slots__ = ("_accounts", "_payer", "_ringers", "_since", "errand_payer", "time")

    def __init__(self, time: Callable[[], int] = lambda: 0) -> None:
        self.time = time
        self.errand_payer: Account | None = None  # of the errand that is being done
        self._payer: Account | None = None
        self._since = 0
        self._accounts: dict[int, Account] = {}  # by context
        self._ringers: dict[int, Account] = {}  # by device

    def begin(self, context: int) -> None:
        """A thread that runs on the context at this address has entered the kernel."""
        payer = self._accounts.get(context)
        if payer is None:
            payer = self._accounts[context] = Account()
        self._payer = payer
        self._since = self.time()

    def end(self) -> None:
        """What was done for it is done. No harm where it was for nobody."""
        payer = self._payer
        if payer is not None:
            self._payer = None
            payer.owed += self.time() - self._since

    def errand(self) -> AbstractContextManager[None]:
        """What is done within it, as often as it is entered, is done for whom the kernel works for now."""
        payer = self._payer or self.errand_payer
        return NOBODY_S if payer is None else Errand(self, payer)

    def rang(self, device: int) -> None:
        """Whoever the kernel works for now has this device look: what that does from now on is done for it. A device
        that has itself look changes nothing."""
        if self._payer is not None:
            self._ringers[device] = self._payer
        elif self.errand_payer is None:
            self._ringers.pop(device, None)

    def turn_of(self, device: int) -> AbstractContextManager[None]:
        """What is done within it is done for whoever has rung this device."""
        payer = self._ringers.get(device)
        return NOBODY_S if payer is None else Errand(self, payer)

    def take(self, context: int) -> int:
        """The microseconds that it owes, and owes no more."""
        account = self._accounts.get(context)
        if account is None:
            return 0
        owed, account.owed = account.owed, 0
        return owed

    def forget(self, context: int) -> None:
        """There is none at this address any more: what was done for it, and is being done, is nobody's."""
        account = self._accounts.pop(context, None)
        if account is None:
            return
        if self._payer is account:
            self._payer = None
        self._ringers = {device: payer for device, payer in self._ringers.items() if payer is not account}


class Errand:
    """Work outside of system calls that somebody pays for. It is not entered within itself."""

    __slots__ = ("_before", "_payer", "_service", "_since")

    def __init__(self, service: Service, payer: Account) -> None:
        self._service = service
        self._payer = payer
        self._before: Account | None = None
        self._since = 0

    def __enter__(self) -> None:
        self._before = self._service.errand_payer
        self._service.errand_payer = self._payer
        self._since = self._service.time()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._service.errand_payer = self._before
        self._payer.owed += self._service.time() - self._since
