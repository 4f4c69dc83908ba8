"""Carries out faults on a running system."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping

from deploy.chaos.schedule import Injection
from deploy.management import Management, Refused
from kerneld.fault_kinds import Fault


class Injector:
    """Does one fault after the other. `management` stays the caller's."""

    def __init__(self, management: Management) -> None:
        self._management = management

    def carry_out(self, injection: Injection) -> str | None:
        """Do it. Returns None, or why it could not be done: its target does not run at this moment, for example.

        Raises:
            ManagementError: the system does not answer.
        """
        try:
            match injection.fault:
                case Fault.KILL:
                    self._management.request("kill", task=injection.target)
                case Fault.KILL_KERNEL:
                    return self._kill_kernel()
                case Fault.DROP_IRQ | Fault.DISK_ERROR | Fault.NET_LOSS:
                    self._inject(injection, device=injection.target)
                case _:
                    self._inject(injection, task=injection.target)
        except Refused as refusal:
            return str(refusal)
        return None

    def kernel_pid(self) -> int:
        """The process that is the kernel now. Raises ManagementError."""
        status = self._management.request("status")
        pid = status.get("pid") if isinstance(status, Mapping) else None
        if not isinstance(pid, int):
            raise Refused("the kernel does not say which process it is")
        return pid

    def _inject(self, injection: Injection, **target: str) -> None:
        self._management.request("inject", fault=injection.fault.value, **target, **injection.details)

    def _kill_kernel(self) -> str | None:
        pid = self.kernel_pid()
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            return "the kernel ended by itself before"
        try:
            if self.kernel_pid() != pid:  # the number may be another process's by now
                return "the kernel ended by itself before"
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        except ProcessLookupError:
            return "the kernel ended by itself before"
        finally:
            os.close(descriptor)
        return None
