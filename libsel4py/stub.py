"""The client's half of an interface: one compiled function a method.

The function's source is made once, when the interface's class is created, as dataclasses do for ``__init__``: a
call is then one function of the machine, which takes and gives values, and no annotation is looked at. Everything
unusual (time-outs, errors, long results, stray capabilities) is left to `_Unusual`, outside of that path.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from libsel4py import abi
from libsel4py.abi import VALUE_KIND_BITS, Status, Syscall, ValueKind
from libsel4py.errors import InvalidMessage, MessageTooLong, Timeout
from libsel4py.lowlevel.machine import Words
from libsel4py.lowlevel.syscalls import machine, server_died
from libsel4py.results import (
    EXTRA_CAPS,
    FetchMore,
    decoder,
    ensure_in_range,
    range_expression,
    unpacker,
    word_expression,
)
from libsel4py.signature import Kind, Method, Value
from libsel4py.task import current_task
from libsel4py.wire import CONTINUE, UNDECODABLE, Outcome, get, message_too_long, put, raise_failure

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


UNPACKABLE = (TypeError, msgspec.MsgspecError, RecursionError, OverflowError, UnicodeEncodeError)


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


def _undecodable(method: Method) -> Callable[[Exception], InvalidMessage]:
    return lambda error: InvalidMessage(f"the result of {method.full_name} does not decode: {error}")


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
    lines = []
    if method.capability is not None:
        lines.append(f"cptr_ = check_capability_({method.capability.name})")
    # A capability that comes back is the kernel's to hand over, and a message without an answer is soon packed.
    by_words = method.oneway or method.result_capability is not None
    return [*lines, *(_word_lines(method) if by_words else _value_lines(method))]


def _info(method: Method, info: int) -> str:
    return f"{info} | (128 if cptr_ else 0)" if method.capability is not None else str(info)


def _set_caps(method: Method) -> list[str]:
    return ["if cptr_: machine_.set_caps(cptr_, 0, 0)"] if method.capability is not None else []


def _names(method: Method) -> str:
    """The data arguments, as a tuple's inside."""
    return "".join(f"{value.name}, " for value in method.data)


# --- calls by value: the machine takes numbers or bytes, and gives the result


def _value_lines(method: Method) -> list[str]:
    result = _result_kind(method)
    if method.in_registers:
        info, shape = _info(method, abi.message_info(method.label, len(method.data))), _shape(method, result)
        numbers = "".join(f", {_number(value)}" for value in method.data)
        packing = []
        call = f"machine_.call_numbers(self._cptr, {info}, {shape}, self._timeout_ns{numbers})"
        unfit = f"out_of_range_({_names(method)})"
    else:
        packing = [
            f"try: data_ = encode_(({_names(method)}))",
            "except UNPACKABLE_ as error_: raise packing_.unpackable(error_) from error_",
        ]
        info = _info(method, abi.message_info(method.label))
        call = f"machine_.call_bytes(self._cptr, {info}, {int(result)}, self._timeout_ns, data_)"
        unfit = "packing_.too_long(data_)"
    return [
        *packing,
        *_set_caps(method),
        f"value_ = {call}",
        *_RETURNS[result],
        f"if value_ is None: raise {unfit}",
        "return unusual_(self, value_[0], value_[2:])",
    ]


def _result_kind(method: Method) -> ValueKind:
    if not method.result_in_register:
        return ValueKind.BYTES
    return VALUE_KINDS[method.result[0].kind] if method.result else ValueKind.NOTHING


def _shape(method: Method, result: ValueKind) -> int:
    # A truth value is made a word before, since asking for it may run code.
    kinds = [ValueKind.SIGNED if value.kind is Kind.SIGNED else ValueKind.WORD for value in method.data]
    return sum(kind << VALUE_KIND_BITS * place for place, kind in enumerate([result, *kinds]))


def _number(value: Value) -> str:
    return f"1 if {value.name} else 0" if value.kind is Kind.BOOL else value.name


VALUE_KINDS = {Kind.SIGNED: ValueKind.SIGNED, Kind.WORD: ValueKind.WORD, Kind.BOOL: ValueKind.TRUTH}
_RETURNS = {
    ValueKind.SIGNED: ["if value_.__class__ is int: return value_"],
    ValueKind.WORD: ["if value_.__class__ is int: return value_"],
    ValueKind.TRUTH: ["if value_.__class__ is bool: return value_"],
    ValueKind.NOTHING: ["if value_.__class__ is int: return None"],
    ValueKind.BYTES: [
        "if value_.__class__ is bytes:",
        "    try: return decode_(value_)",
        "    except UNDECODABLE_ as error_: raise undecodable_(error_) from error_",
    ],
}


# --- calls by words


def _word_lines(method: Method) -> list[str]:
    lines, info, words = _register_lines(method) if method.in_registers else _packed_lines(method)
    lines += _set_caps(method)
    if method.capability is not None:
        info = f"({info}) | (128 if cptr_ else 0)"
    if method.result_capability is not None:
        lines.append("arm_()")
        trap, op = "kernel_trap", Syscall.CALL  # no channel can hand a capability over
    else:
        trap, op = "trap", Syscall.SEND
    message = f"self._cptr, {info}, {', '.join(words)}"
    lines.append(f"completion_ = machine_.{trap}({int(op)}, {message}, 0, 0, self._timeout_ns)")
    if method.oneway:
        lines.append("if not completion_[0]: return None")
    lines.append("return unusual_(self, completion_[0], completion_[2:])")
    return lines


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
    lines = [f"out_, m0_, m1_, m2_, m3_ = packing_.words(({_names(method)}))"]
    return lines, "out_", ["m0_", "m1_", "m2_", "m3_"]


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
