"""Carries out faults on a running system."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from typing import Final

from deploy.chaos.schedule import Injection
from deploy.management import Management, Refused
from kerneld.fault_kinds import Fault

_ENDED: Final = "the kernel ended by itself before"


class Injector:
    """Does one fault after the other. `management` stays the caller's."""

    def __init__(self, management: Management) -> None:
        self._management = management

    def carry_out(self, injection: Injection) -> int:
        """Do it. Returns the process that was hit; 0 if it was none.

        Raises:
            Refused: it could not be done: its target does not run at this moment, for example.
            ManagementError: the system does not answer.
        """
        match injection.fault:
            case Fault.KILL:
                return _pid(self._management.request("kill", task=injection.target))
            case Fault.KILL_KERNEL:
                return self._kill_kernel()
            case Fault.DROP_IRQ | Fault.DISK_ERROR | Fault.NET_LOSS:
                return self._inject(injection, device=injection.target)
            case _:
                return self._inject(injection, task=injection.target)

    def kernel_pid(self) -> int:
        """The process that is the kernel now. Raises ManagementError."""
        pid = _pid(self._management.request("status"))
        if not pid:
            raise Refused("the kernel does not say which process it is")
        return pid

    def _inject(self, injection: Injection, **target: str) -> int:
        return _pid(self._management.request("inject", fault=injection.fault.value, **target, **injection.details))

    def _kill_kernel(self) -> int:
        pid = self.kernel_pid()
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            raise Refused(_ENDED) from None
        try:
            if self.kernel_pid() != pid:  # the number may be another process's by now
                raise Refused(_ENDED)
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        except ProcessLookupError:
            raise Refused(_ENDED) from None
        finally:
            os.close(descriptor)
        return pid


def _pid(answer: object) -> int:
    """The process that an answer names; 0: none."""
    pid = answer.get("pid") if isinstance(answer, Mapping) else None
    return pid if isinstance(pid, int) else 0
