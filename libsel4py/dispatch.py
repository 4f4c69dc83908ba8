"""The server's half of an interface: from a request's label to a method of the implementation, and back.

`bind` makes a table of handlers for one implementation. A handler takes the request (info, MR0..MR3) and returns
the reply in the same form; it has copied and decoded all of the request before the method runs, so the method
may itself make calls. Exceptions leave the handler; the server loop turns them into replies.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from libsel4py import abi
from libsel4py.capabilities import Capability
from libsel4py.context import DEFER
from libsel4py.errors import InvalidMessage
from libsel4py.results import (
    EXTRA_CAPS,
    KeepLong,
    from_register,
    packer,
    range_expression,
    signed_expression,
    take_capability,
    word_expression,
)
from libsel4py.signature import Kind, Method
from libsel4py.task import current_task
from libsel4py.wire import EMPTY, Words, decode, get, receiver

Handler = Callable[[int, int, int, int, int], Words]


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of a dispatch table. ``pack`` is what a deferred reply uses."""

    method: Method
    handle: Handler
    pack: Callable[[Any], Words]


def bind(methods: dict[str, Method], implementation: object, keep: KeepLong) -> dict[int, Entry]:
    """Handlers by label for an object that implements these methods.

    Raises:
        TypeError: the object lacks a method.
    """
    table = {}
    for name, method in methods.items():
        function = getattr(implementation, name, None)
        if not callable(function):
            raise TypeError(f"{type(implementation).__name__} does not implement {method.full_name}")
        table[method.label] = _entry(method, function, keep)
    return table


def _entry(method: Method, function: Callable[..., Any], keep: KeepLong) -> Entry:
    pack_result = packer(method)

    def pack(result: Any) -> Words:
        return EMPTY if result is DEFER else pack_result(result, keep)

    if method.capability is not None:
        return Entry(method, _capability_handler(method, function, pack), pack)
    if not method.in_registers:
        return Entry(method, _packed_handler(method, function, pack), pack)
    return Entry(method, _register_handler(method, function, pack), pack)


def _register_handler(method: Method, function: Callable[..., Any], pack: Callable[[Any], Words]) -> Handler:
    """Compiled as the stub is: arguments from registers, and the result into one where it is a number."""
    arguments = ", ".join(_argument(value.kind, index) for index, value in enumerate(method.data))
    lines = [
        "def handle(info, m0, m1, m2, m3):",
        f"    if info != {abi.message_info(method.label, len(method.data))}: raise malformed(info)",
        f"    result = function({_keywords(method, arguments)})",
    ]
    if not method.result:
        lines.append("    return EMPTY")
    elif method.result_in_register and method.result[0].kind is not Kind.BOOL:
        lines.append(f"    if result.__class__ is int and {range_expression('result', method.result[0].kind)}:")
        lines.append(f"        return 1, {word_expression('result')}, 0, 0, 0")
    if method.result:
        lines.append("    return pack(result)")
    namespace: dict[str, Any] = {
        "function": function,
        "pack": pack,
        "EMPTY": EMPTY,
        "malformed": lambda info: _malformed(method, info),
    }
    exec(compile("\n".join(lines), f"<dispatch of {method.full_name}>", "exec"), namespace)
    handler: Handler = namespace["handle"]
    return handler


def _argument(kind: Kind, index: int) -> str:
    match kind:
        case Kind.SIGNED:
            return signed_expression(f"m{index}")
        case Kind.BOOL:
            return f"m{index} != 0"
    return f"m{index}"


def _keywords(method: Method, arguments: str) -> str:
    """Positional arguments as they are; keyword-only ones by name."""
    parts = arguments.split(", ") if arguments else []
    names = _keyword_only(method)
    return ", ".join(
        f"{value.name}={part}" if value.name in names else part for value, part in zip(method.data, parts, strict=True)
    )


def _keyword_only(method: Method) -> frozenset[str]:
    parameters = method.signature.parameters.values()
    return frozenset(each.name for each in parameters if each.kind is each.KEYWORD_ONLY)


def _malformed(method: Method, info: int) -> InvalidMessage:
    capability = "a" if method.capability else "no"
    return InvalidMessage(
        f"{method.full_name} takes {len(method.data)} message words and {capability} capability; "
        f"{abi.info_length(info)} words and {abi.info_extra_caps(info)} capabilities came"
    )


def _decoder(method: Method) -> Callable[[bytes], tuple[Any, ...]]:
    annotation: Any = tuple.__class_getitem__(tuple(value.annotation for value in method.data))
    return msgspec.msgpack.Decoder(annotation).decode


def _invoker(method: Method, function: Callable[..., Any]) -> Callable[[list[Any]], Any]:
    names = _keyword_only(method)
    if not names:
        return lambda values: function(*values)

    def invoke(values: list[Any]) -> Any:
        pairs = list(zip(method.parameters, values, strict=True))
        keywords = {parameter.name: value for parameter, value in pairs if parameter.name in names}
        return function(*[value for parameter, value in pairs if parameter.name not in names], **keywords)

    return invoke


def _packed_handler(method: Method, function: Callable[..., Any], pack: Callable[[Any], Words]) -> Handler:
    receive = receiver(_decoder(method), f"the arguments of {method.full_name}")
    invoke = _invoker(method, function)

    def ensure_no_capability(info: int) -> None:
        if info & EXTRA_CAPS:
            raise InvalidMessage(f"{method.full_name} takes no capability, and one came")

    def handle(info: int, m0: int, m1: int, m2: int, m3: int) -> Words:
        ensure_no_capability(info)
        return pack(invoke(list(receive(info, m0, m1, m2, m3))))

    def handle_by_position(info: int, m0: int, m1: int, m2: int, m3: int) -> Words:
        if info & EXTRA_CAPS:
            ensure_no_capability(info)
        return pack(function(*receive(info, m0, m1, m2, m3)))

    return handle if _keyword_only(method) else handle_by_position


def _capability_handler(method: Method, function: Callable[..., Any], pack: Callable[[Any], Words]) -> Handler:
    decode_arguments = _decoder(method)
    invoke = _invoker(method, function)
    what = f"the arguments of {method.full_name}"
    wanted = method.capability
    assert wanted is not None

    def arguments(info: int, words: tuple[int, int, int, int]) -> list[Any]:
        if not method.in_registers:
            return list(decode(decode_arguments, get(info, *words), what))
        if abi.info_length(info) != len(method.data):
            raise _malformed(method, info)
        return [from_register(word, value.kind) for value, word in zip(method.data, words, strict=False)]

    def handle(info: int, m0: int, m1: int, m2: int, m3: int) -> Words:
        data = iter(arguments(info, (m0, m1, m2, m3)))
        capability = take_capability(info, wanted, method.full_name)
        values = [capability if value is wanted else next(data) for value in method.parameters]
        if capability is None:
            return pack(invoke(values))
        unclaimed = current_task().receive.unclaimed
        unclaimed.add(capability.cptr)
        try:
            return pack(invoke(values))
        except BaseException:
            _drop(capability)
            raise
        finally:
            unclaimed.discard(capability.cptr)

    return handle


def _drop(capability: Capability) -> None:
    """A method that raised does not own the capability that came with its request, unless it has claimed it.

    It may have deleted it: then another thread may have the slot by now.
    """
    task = current_task()
    if capability.cptr in task.receive.unclaimed and not task.slots.is_free(capability.cptr):
        task.delete(capability)
