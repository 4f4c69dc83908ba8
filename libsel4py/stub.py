"""The client's half of an interface: one compiled function a method.

The function's source is made once, when the interface's class is created, as dataclasses do for ``__init__``: a
call by registers is then range checks, one trap and one comparison, and no annotation is looked at. Everything
unusual (time-outs, errors, long results, stray capabilities) is left to `_Unusual`, outside of that path.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from libsel4py import abi
from libsel4py.abi import Status, Syscall
from libsel4py.errors import InvalidMessage, Timeout
from libsel4py.lowlevel.syscalls import machine, server_died
from libsel4py.results import (
    EXTRA_CAPS,
    FetchMore,
    ensure_in_range,
    plain_unpacker,
    range_expression,
    signed_expression,
    unpacker,
    word_expression,
)
from libsel4py.signature import Kind, Method, Value
from libsel4py.task import current_task
from libsel4py.wire import CONTINUE, Outcome, Words, get, put, raise_failure

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
        if words[0] & EXTRA_CAPS and method.result_capability is None:
            current_task().receive.discard()
        if abi.info_label(words[0]) not in (Outcome.OK, Outcome.PARTIAL):
            raise_failure(method.full_name, method.raises, words)
        return self._unpack(words, _fetcher(stub, method))


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
        if abi.info_label(reply[0]) != Outcome.OK:
            raise_failure(method.full_name, method.raises, reply)
        return get(*reply)

    return fetch


class _OutOfRange:
    """Raises for the first register argument that does not fit, before anything is sent."""

    def __init__(self, method: Method) -> None:
        self._method = method

    def __call__(self, *arguments: object) -> ValueError:
        for value, argument in zip(self._method.data, arguments, strict=True):
            ensure_in_range(argument, value.kind, f"{self._method.full_name}: {value.name}")
        return ValueError(f"{self._method.full_name}: an argument does not fit 64 bits")


def _pack(method: Method) -> Callable[[object], Words]:
    encode = msgspec.msgpack.Encoder().encode
    what, label = f"the arguments of {method.full_name}", method.label

    def pack(arguments: object) -> Words:
        try:
            data = encode(arguments)
        except (TypeError, msgspec.MsgspecError, RecursionError, OverflowError, UnicodeEncodeError) as error:
            raise TypeError(f"{what} cannot be packed: {error}") from error
        try:
            return machine.message_put(label, data)
        except ValueError:
            return put(label, data, what)  # says what would have worked

    return pack


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
    source = "\n".join([f"def {method.name}({_parameter_list(method)}):", *("    " + line for line in _body(method))])
    namespace: dict[str, Any] = {
        "machine_": machine,
        "unusual_": _Unusual(method),
        "plain_": plain_unpacker(method),
        "out_of_range_": _OutOfRange(method),
        "pack_": _pack(method),
        "arm_": _arm,
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


def _arm() -> None:
    current_task().receive.arm()


def _parameter_list(method: Method) -> str:
    parts = ["self"]
    for parameter in list(method.signature.parameters.values())[1:]:
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and "*" not in parts:
            parts.append("*")
        default = "" if parameter.default is inspect.Parameter.empty else f"=default_{parameter.name}_"
        parts.append(parameter.name + default)
    return ", ".join(parts)


def _body(method: Method) -> list[str]:
    """The stub's lines. Arguments are checked and packed first, so that nothing is sent if one does not fit."""
    lines, info, words = _register_lines(method) if method.in_registers else _packed_lines(method)
    capability = method.capability
    if capability is not None:
        lines.insert(0, f"cptr_ = check_capability_({capability.name})")
        lines.append("if cptr_: machine_.set_caps(cptr_, 0, 0)")
        info = f"({info}) | (128 if cptr_ else 0)"
    if method.result_capability is not None:
        lines.append("arm_()")
    lines.append(f"status_, badge_, info_, r0_, r1_, r2_, r3_ = machine_.{_trap(method, info, words)}")
    if method.oneway:
        lines.append("if status_: return unusual_(self, status_, (info_, r0_, r1_, r2_, r3_))")
        return lines
    if method.result_in_register:
        lines.append(f"if info_ == {len(method.result)} and not status_: return {_result_expression(method)}")
    elif method.result_capability is None:
        lines.append("if not status_ and info_ <= 127: return plain_(info_, r0_, r1_, r2_, r3_)")
    lines.append("return unusual_(self, status_, (info_, r0_, r1_, r2_, r3_))")
    return lines


def _trap(method: Method, info: str, words: list[str]) -> str:
    """The machine's function with its arguments."""
    message = f"self._cptr, {info}, {', '.join(words)}"
    if method.oneway:
        return f"trap({int(Syscall.SEND)}, {message}, 0, 0, self._timeout_ns)"
    if method.result_capability is not None:  # no channel can hand a capability over
        return f"kernel_trap({int(Syscall.CALL)}, {message}, 0, 0, self._timeout_ns)"
    return f"call({message}, self._timeout_ns)"


def _register_lines(method: Method) -> tuple[list[str], str, list[str]]:
    names = [value.name for value in method.data]
    checks = []
    words = []
    for value in method.data:
        match value.kind:
            case Kind.SIGNED | Kind.WORD:
                checks.append(range_expression(value.name, value.kind))
                words.append(word_expression(value.name))
            case _:
                words.append(f"1 if {value.name} else 0")
    lines = [f"if not ({' and '.join(checks)}): raise out_of_range_({', '.join(names)})"] if checks else []
    return lines, str(abi.message_info(method.label, len(words))), words + ["0"] * (4 - len(words))


def _packed_lines(method: Method) -> tuple[list[str], str, list[str]]:
    names = "".join(f"{value.name}, " for value in method.data)
    return [f"out_, m0_, m1_, m2_, m3_ = pack_(({names}))"], "out_", ["m0_", "m1_", "m2_", "m3_"]


def _result_expression(method: Method) -> str:
    if not method.result:
        return "None"
    match method.result[0].kind:
        case Kind.SIGNED:
            return signed_expression("r0_")
        case Kind.BOOL:
            return "r0_ != 0"
    return "r0_"


def ask(stub: Interface, label: int) -> bytes:
    """Call a reserved label that answers with packed bytes. Raises InvalidMessage, Timeout."""
    info = abi.message_info(label, 0)
    status, _, *words = machine.trap(Syscall.CALL, stub._cptr, info, 0, 0, 0, 0, 0, 0, stub._timeout_ns)
    reply: Words = (words[0], words[1], words[2], words[3], words[4])
    if status == Status.SERVER_DIED:
        raise server_died(type(stub).__name__)
    if status == Status.CANCELLED:
        raise Timeout("the server did not answer in time")
    if abi.info_label(reply[0]) != Outcome.OK:
        raise_failure(type(stub).__name__, (), reply)
    if reply[0] & EXTRA_CAPS:
        raise InvalidMessage(f"{type(stub).__name__}: the answer brought a capability that nobody asked for")
    return get(*reply)
