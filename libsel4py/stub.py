"""The client's half of an interface: one compiled function a method.

The function's source is made once, when the interface's class is created, as dataclasses do for ``__init__``: a
call is then one function of the machine, which takes and gives values, and no annotation is looked at. Everything
unusual (time-outs, errors, long results, stray capabilities) is left to `_Unusual`, outside of that path.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import msgspec

from libsel4py import abi
from libsel4py.abi import Status, Syscall
from libsel4py.errors import InvalidMessage, MessageTooLong, ServerDied, Timeout, WrongAnswer
from libsel4py.lowlevel.machine import Words
from libsel4py.lowlevel.syscalls import machine, server_died
from libsel4py.request_ids import clock, give_back_lane, take_lane, time_to_repeat
from libsel4py.results import (
    EXTRA_CAPS,
    FetchMore,
    decoder,
    ensure_in_range,
    unpacker,
)
from libsel4py.signature import Method, Repeat, Value
from libsel4py.stub_source import body, parameter_list
from libsel4py.task import current_task
from libsel4py.wire import CONTINUE, UNDECODABLE, Outcome, get, judged, message_too_long, put, raise_failure

if TYPE_CHECKING:
    from libsel4py.interface import Interface


class _Unusual:
    """What a stub calls when the reply is not the plain register reply that it expected."""

    def __init__(self, method: Method) -> None:
        self._method = method
        self._unpack = unpacker(method)

    def __call__(self, stub: Interface, status: int, words: Words) -> Any:
        method = self._method
        if status == Status.SERVER_DIED:
            raise server_died(method.full_name)
        if status == Status.CANCELLED:
            seconds = stub._timeout_ns / 1e9
            raise Timeout(f"{method.full_name} was not answered within {seconds} s; the call was withdrawn")
        try:
            if abi.info_label(words[0]) not in (Outcome.OK, Outcome.PARTIAL):
                raise_failure(method.full_name, method.raises, words)
            return self._unpack(words, _fetcher(stub, method))
        finally:
            _discard_stray(words[0])


def _fetcher(stub: Interface, method: Method) -> FetchMore:
    def fetch(token: int, offset: int) -> bytes:
        info = abi.message_info(CONTINUE, 2)
        completion = machine.trap(Syscall.CALL, stub._cptr, info, token, offset, 0, 0, 0, 0, stub._timeout_ns)
        status, _, *words = completion
        reply: Words = (words[0], words[1], words[2], words[3], words[4])
        if status == Status.SERVER_DIED:
            raise server_died(method.full_name)
        if status == Status.CANCELLED:
            raise Timeout(f"{method.full_name}: the rest of its long result did not come in time")
        _discard_stray(reply[0])
        label = abi.info_label(reply[0])
        if label == Outcome.INVALID_MESSAGE and method.repeat is Repeat.IDEMPOTENT:
            raise ServerDied(f"{method.full_name}: the rest of its long result is not there any more")
        if label != Outcome.OK:
            raise_failure(method.full_name, method.raises, reply)
        return judged(get, *reply)

    return fetch


class _OutOfRange:
    """Raises for the first register argument that does not fit, before anything is sent."""

    def __init__(self, method: Method) -> None:
        self._method = method

    def __call__(self, *arguments: object) -> ValueError:
        for value, argument in zip(self._method.data, arguments, strict=True):
            ensure_in_range(argument, value.kind, f"{self._method.full_name}: {value.name}")
        return ValueError(f"{self._method.full_name}: an argument does not fit 64 bits")


UNPACKABLE: Final = (TypeError, msgspec.MsgspecError, RecursionError, OverflowError, UnicodeEncodeError)


class _Packing:
    """Packs a method's arguments; tells what is wrong with those that cannot be."""

    def __init__(self, method: Method) -> None:
        self._what, self._label = f"the arguments of {method.full_name}", method.label
        self.encode = msgspec.msgpack.Encoder().encode

    def words(self, arguments: object) -> Words:
        """As a message of the calling thread. Raises TypeError, MessageTooLong."""
        try:
            data = self.encode(arguments)
        except UNPACKABLE as error:
            raise self.unpackable(error) from error
        return put(self._label, data, self._what)

    def unpackable(self, error: Exception) -> TypeError:
        return TypeError(f"{self._what} cannot be packed: {error}")

    def too_long(self, data: bytes) -> MessageTooLong:
        return message_too_long(data, self._what)


def _undecodable(method: Method) -> Callable[[Exception], WrongAnswer]:
    return lambda error: WrongAnswer(f"the result of {method.full_name} does not decode: {error}")


def _check_capability(method: Method, value: Value) -> Callable[[object], int]:
    def check(capability: object) -> int:
        if capability is None and value.optional:
            return 0
        if not isinstance(capability, value.capability or object):
            wanted = value.capability.__name__ if value.capability else "capability"
            raise TypeError(f"{method.full_name}: {value.name} must be a {wanted}, not {type(capability).__name__}")
        cptr: int = capability.cptr  # type: ignore[attr-defined]  # checked by isinstance above
        return cptr

    return check


def compile_stub(method: Method, declared: Callable[..., Any]) -> Callable[..., Any]:
    """The client function of a method, with the signature, defaults and docstring of its declaration.

    Names of its own end in an underscore; `read_method` keeps parameters from doing so.
    """
    source = "\n    ".join([f"def {method.name}({parameter_list(method)}):", *body(method)])
    packing = _Packing(method)
    namespace: dict[str, Any] = {
        "machine_": machine,
        "unusual_": _Unusual(method),
        "out_of_range_": _OutOfRange(method),
        "packing_": packing,
        "encode_": packing.encode,
        "UNPACKABLE_": UNPACKABLE,
        "decode_": decoder(method),
        "UNDECODABLE_": UNDECODABLE,
        "undecodable_": _undecodable(method),
        "arm_": _arm,
        "disarm_": _disarm,
    }
    if method.repeat is not Repeat.NEVER:
        namespace |= {
            "clock_": clock,
            "ServerDied_": ServerDied,
            "Timeout_": Timeout,
            "time_to_repeat_": time_to_repeat,
            "take_lane_": take_lane,
            "give_back_lane_": give_back_lane,
        }
    if method.capability is not None:
        namespace["check_capability_"] = _check_capability(method, method.capability)
    for name, parameter in method.signature.parameters.items():
        if parameter.default is not inspect.Parameter.empty:
            namespace[f"default_{name}_"] = parameter.default
    exec(compile(source, f"<stub of {method.full_name}>", "exec"), namespace)
    stub: Callable[..., Any] = namespace[method.name]
    stub.__doc__ = declared.__doc__
    stub.__qualname__ = declared.__qualname__
    stub.__module__ = declared.__module__
    stub.__wrapped__ = declared  # type: ignore[attr-defined]  # inspect.signature follows it
    return stub


def _discard_stray(info: int) -> None:
    """Delete a capability that came with a message of this info word, and that nobody has taken."""
    if info & EXTRA_CAPS:
        current_task().receive.discard()


def _arm() -> None:
    current_task().receive.arm()


def _disarm() -> None:
    """Nobody takes what may have come."""
    current_task().receive.discard()


def ask(stub: Interface, label: int) -> bytes:
    """Call a reserved label that answers with packed bytes. Raises InvalidMessage, Timeout."""
    info = abi.message_info(label, 0)
    status, _, *words = machine.trap(Syscall.CALL, stub._cptr, info, 0, 0, 0, 0, 0, 0, stub._timeout_ns)
    reply: Words = (words[0], words[1], words[2], words[3], words[4])
    if status == Status.SERVER_DIED:
        raise server_died(type(stub).__name__)
    if status == Status.CANCELLED:
        raise Timeout("the server did not answer in time")
    _discard_stray(reply[0])
    if abi.info_label(reply[0]) != Outcome.OK:
        raise_failure(type(stub).__name__, (), reply)
    if reply[0] & EXTRA_CAPS:
        raise InvalidMessage(f"{type(stub).__name__}: the answer brought a capability that nobody asked for")
    return get(*reply)
