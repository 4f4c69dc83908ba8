"""The four ways in which the kernel says no. Each has one reader.

`LookupFailure` is seen by the kernel alone: whoever looks up turns it into one of the next two. `Fault` is told to the
thread's fault handler. `SyscallError` is told to the caller. `KernelBug` means that this code is wrong: the transaction
is rolled back, and nobody swallows it.
"""

from __future__ import annotations

from libsel4py.abi import Error, FaultLabel, LookupFailureKind


class LookupFailure(Exception):
    """A capability address did not resolve.

    Attributes:
        kind: why. words: its description (bits left, …). where: a sentence for people, without effect on the ABI.
    """

    def __init__(self, kind: LookupFailureKind, words: tuple[int, ...] = (), where: str = "") -> None:
        super().__init__(f"{kind.name} {words} {where}")
        self.kind = kind
        self.words = words
        self.where = where


class Fault(Exception):
    """The calling thread stops, and its fault handler is told.

    Attributes:
        label: what happened. words: the fault message's words that the fault itself knows (SEL4_API 2.4), without
        the instruction pointer, but for a VM_FAULT, which alone has one. where: a sentence for people.
    """

    def __init__(self, label: FaultLabel, words: tuple[int, ...] = (), where: str = "") -> None:
        super().__init__(f"{label.name} {words} {where}")
        self.label = label
        self.words = words
        self.where = where

    @classmethod
    def from_lookup(cls, address: int, receiving: bool, failure: LookupFailure) -> Fault:
        """A CAP_FAULT: words are Addr, InRecvPhase, LookupFailureType and three description words."""
        left, first, second = (*failure.words, 0, 0, 0)[:3]
        words = (address, int(receiving), failure.kind.value, left, first, second)
        return cls(FaultLabel.CAP_FAULT, words, failure.where)


class SyscallError(Exception):
    """An invocation is refused: error number and payload words, as the reply carries them.

    Attributes:
        error: the label of the reply. words: its message words. why: a sentence for people that names the
        object, what was wrong and what would have worked.
    """

    def __init__(self, error: Error, words: tuple[int, ...] = (), why: str = "") -> None:
        super().__init__(f"{error.name} {words} {why}")
        self.error = error
        self.words = words
        self.why = why

    @classmethod
    def failed_lookup(cls, source: bool, failure: LookupFailure) -> SyscallError:
        """FAILED_LOOKUP: which of the two look-ups, the kind, and its description."""
        return cls(Error.FAILED_LOOKUP, (int(source), failure.kind.value, *failure.words), failure.where)


def invalid_argument(number: int, why: str) -> SyscallError:
    """Argument ``number`` (message word of the invocation) has an impossible value."""
    return SyscallError(Error.INVALID_ARGUMENT, (number,), why)


def invalid_capability(number: int, why: str) -> SyscallError:
    """Capability argument ``number`` (0 is the invoked one) is of the wrong kind or lacks a right."""
    return SyscallError(Error.INVALID_CAPABILITY, (number,), why)


def illegal_operation(why: str) -> SyscallError:
    return SyscallError(Error.ILLEGAL_OPERATION, (), why)


def range_error(smallest: int, largest: int, why: str) -> SyscallError:
    return SyscallError(Error.RANGE_ERROR, (smallest, largest), why)


def truncated_message(why: str) -> SyscallError:
    return SyscallError(Error.TRUNCATED_MESSAGE, (), why)


class KernelBug(BaseException):
    """The kernel's own rules were broken. Never caught but by the outermost loop, which stops the kernel."""
