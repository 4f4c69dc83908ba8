"""What can go wrong, as exceptions with the ABI's names.

Four families, so that a caller can tell who refused:

- `KernelError`: the kernel refused an invocation. One class an error code (manual, section 10.1), each with its
  payload as attributes, with the invocation's name and, where the kernel was asked, its explanation.
- `RemoteError`, `ServiceError`, `ServerDied`: another task did not do what it was asked.
- `VMFault`: memory that a guarded access touched is not there (`libsel4py.mapping`).
- `Timeout`, `MessageTooLong`: the call itself could not be made, or not in time. Nothing was done by a server
  that had not taken the message.

This module imports the ABI and nothing else.
"""

from __future__ import annotations

from typing import ClassVar, Final

from libsel4py.abi import Error, LookupFailureKind
from libsel4py.abi import VMFault as VMFault


class KernelError(Exception):
    """The kernel refused an invocation; the object is as it was.

    Attributes:
        invocation: ``Object.method``, for example ``CNode.copy``; empty if not known.
        payload: the message words that the ABI gives for this error.
        explanation: the kernel's own account of the refusal (system call EXPLAIN); empty if it was not asked.
    """

    error: ClassVar[Error | None] = None
    payload_words: ClassVar[int] = 0

    def __init__(self, *payload: int, invocation: str = "", explanation: str = "") -> None:
        given = payload[: self.payload_words] if self.error is not None else payload
        self.payload: tuple[int, ...] = given + (0,) * (self.payload_words - len(given))
        self.invocation = invocation
        self.explanation = explanation
        super().__init__(*self.payload)

    def reason(self) -> str:
        """One sentence: what this error means and what would have worked."""
        return f"the kernel answered with error words {self.payload}, which this SDK does not know"

    def __str__(self) -> str:
        name = f"{self.invocation}: " if self.invocation else ""
        tail = f" ({self.explanation})" if self.explanation else ""
        return f"{name}{self.reason()}{tail}"


class InvalidArgument(KernelError):
    """An argument has a value that the object cannot take. ``argument`` counts from 0, in the manual's order."""

    error = Error.INVALID_ARGUMENT
    payload_words = 1

    @property
    def argument(self) -> int:
        return self.payload[0]

    def reason(self) -> str:
        return f"argument {self.argument} has a value that is not allowed here"


class InvalidCapability(KernelError):
    """A capability is of the wrong type, or lacks a right. ``capability`` 0 is the invoked one."""

    error = Error.INVALID_CAPABILITY
    payload_words = 1

    @property
    def capability(self) -> int:
        return self.payload[0]

    def reason(self) -> str:
        if self.capability == 0:
            return "the invoked slot is empty or holds an object without this method"
        return f"capability argument {self.capability} is of the wrong type, or lacks a right"


class IllegalOperation(KernelError):
    """The object's state, or the capability's rights, do not permit this now."""

    error = Error.ILLEGAL_OPERATION

    def reason(self) -> str:
        return "the object's state or the capability's rights do not permit this"


class RangeError(KernelError):
    """A number is outside ``minimum``..``maximum`` (both allowed)."""

    error = Error.RANGE_ERROR
    payload_words = 2

    @property
    def minimum(self) -> int:
        return self.payload[0]

    @property
    def maximum(self) -> int:
        return self.payload[1]

    def reason(self) -> str:
        return f"a number is out of range: {self.minimum}..{self.maximum} would have worked"


class AlignmentError(KernelError):
    """An address is not aligned to the object's size."""

    error = Error.ALIGNMENT_ERROR

    def reason(self) -> str:
        return "an address is not aligned to the object's size"


class FailedLookup(KernelError):
    """A capability that is named by index and depth was not found."""

    error = Error.FAILED_LOOKUP
    payload_words = 5

    @property
    def source(self) -> bool:
        """True if the source was looked up, False for the destination."""
        return bool(self.payload[0])

    @property
    def kind(self) -> LookupFailureKind:
        try:
            return LookupFailureKind(self.payload[1])
        except ValueError:
            return LookupFailureKind.NO_FAILURE

    @property
    def description(self) -> tuple[int, ...]:
        """The kind's words: bits left; then bits found, or guard found and guard bits found."""
        return self.payload[2:]

    def reason(self) -> str:
        side = "source" if self.source else "destination"
        left, second, third = self.description
        match self.kind:
            case LookupFailureKind.INVALID_ROOT:
                detail = "the root is no CNode"
            case LookupFailureKind.MISSING_CAPABILITY:
                detail = f"a slot on the way is empty, with {left} bits of the address left"
            case LookupFailureKind.DEPTH_MISMATCH:
                detail = f"{left} bits of the address were left where the CNode resolves {second}"
            case LookupFailureKind.GUARD_MISMATCH:
                detail = f"the guard there is {second:#x} ({third} bits), with {left} bits of the address left"
            case _:
                detail = "the kernel gave no detail"
        return f"the {side} was not found: {detail}"


class TruncatedMessage(KernelError):
    """Too few message words or capabilities were sent for this method."""

    error = Error.TRUNCATED_MESSAGE

    def reason(self) -> str:
        return "the message has too few words or capabilities for this method"


class DeleteFirst(KernelError):
    """The destination slot holds a capability."""

    error = Error.DELETE_FIRST

    def reason(self) -> str:
        return "the destination slot is occupied: delete the capability there, or name an empty slot"


class RevokeFirst(KernelError):
    """The object has derived capabilities that must go first."""

    error = Error.REVOKE_FIRST

    def reason(self) -> str:
        return "capabilities were derived from this one: revoke it first"


class NotEnoughMemory(KernelError):
    """There is no room for what was asked: in an untyped, of which ``bytes_left`` are free; or in a table of mappings,
    or of what the host has for frames (0)."""

    error = Error.NOT_ENOUGH_MEMORY
    payload_words = 1

    @property
    def bytes_left(self) -> int:
        return self.payload[0]

    def reason(self) -> str:
        if not self.bytes_left:
            return "there is no room left for it"
        return f"the untyped has {self.bytes_left} bytes left, which is not enough"


KERNEL_ERRORS: Final[dict[int, type[KernelError]]] = {
    kind.error: kind for kind in KernelError.__subclasses__() if kind.error is not None
}


def kernel_error(code: int, words: tuple[int, ...], invocation: str = "", explanation: str = "") -> KernelError:
    """The exception for a refused invocation's reply: ``code`` is its label, ``words`` its message registers."""
    kind = KERNEL_ERRORS.get(code)
    if kind is None:
        return KernelError(code, *words, invocation=invocation, explanation=explanation)
    return kind(*words, invocation=invocation, explanation=explanation)


class Timeout(TimeoutError):
    """A blocking call did not complete in the time that its ``timeout=`` gave. It was cancelled whole."""


class ServerDied(ConnectionError):
    """The server died after it had taken the request: it may have run, and will not be answered."""


class RequestForgotten(ServerDied):
    """The server's successor was asked again, and cannot know whether the request was carried out.

    Its task has no ``state`` in the system description, or lost it.
    """


class MessageTooLong(ValueError):
    """A message does not fit the 119 words behind its length. The text says what to use instead."""


class RemoteError(Exception):
    """The server raised an exception that its interface does not declare; it goes on serving.

    Attributes:
        type_name: the exception's class at the server. message: its text there.
    """

    def __init__(self, type_name: str, message: str) -> None:
        super().__init__(type_name, message)
        self.type_name = type_name
        self.message = message

    def __str__(self) -> str:
        return f"{self.type_name} at the server: {self.message}"


class InvalidMessage(RemoteError):
    """A message did not decode to what the method declares; nothing was done."""

    def __init__(self, message: str) -> None:
        super().__init__("InvalidMessage", message)

    def __str__(self) -> str:
        return self.message


class WrongAnswer(InvalidMessage):
    """An answer did not decode to what the method declares, or is none that an interface has: the server is at fault.

    What the method was to do may be done. A client that may complain of its server does (`libsel4py.complaints`).
    """


class UnknownMethod(InvalidMessage):
    """The server has no method with this label: client and server were built from different interfaces."""


class InterfaceMismatch(InvalidMessage):
    """The endpoint's server answers another interface, or another version of it."""


def wire_name(kind: type[BaseException]) -> str:
    """The name under which an exception class travels."""
    return f"{kind.__module__}.{kind.__qualname__}"


class ServiceError(Exception):
    """Base of exceptions that travel from a server's method to its client and are raised there again, typed.

    Subclasses register themselves by module and name; both sides import the interface's module, so both know
    them. Arguments that travel are numbers, strings, bytes and None; anything else travels as its ``repr``.
    """

    registered: ClassVar[dict[str, type[ServiceError]]] = {}

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        ServiceError.registered[wire_name(cls)] = cls


class TooManyDeferred(ServiceError):
    """The server already owes as many replies as it may keep back; ask again later."""
