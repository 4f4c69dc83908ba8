"""The server's half of an interface: from a request's label to a method of the implementation, and back.

What of a handler is the same in every process, its code and its decoder, is made where a component is declared
(`prepare`): the zygote declares all of them, and a server that is started again, for which clients wait, makes none.
`bind` makes a table of handlers for one implementation. A handler takes the request (info, MR0..MR3, or all bytes in
the place of MR0) and returns the answer, as `Cpu.answer_recv` gives and takes them; it has copied and decoded all of
the request before the method runs, so the method may itself make calls. Exceptions leave the handler; the server loop
turns them into replies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import CodeType, FunctionType
from typing import Any

import msgspec

from libsel4py import abi
from libsel4py.abi import ValueKind
from libsel4py.capabilities import Capability, Unwrapped
from libsel4py.context import DEFER, per_thread
from libsel4py.errors import InvalidMessage
from libsel4py.keeper import Keeper, Request, UnderWay, current
from libsel4py.lowlevel.machine import Answer
from libsel4py.lowlevel.syscalls import machine
from libsel4py.results import (
    EXTRA_CAPS,
    SMALL,
    VALUE_KINDS,
    KeepLong,
    encode,
    from_register,
    packer,
    shape_of,
    signed_expression,
    take_capability,
)
from libsel4py.signature import Kind, Method, Repeat
from libsel4py.task import current_task
from libsel4py.wire import EMPTY, MAX_BYTES, UNDECODABLE, decode, get, too_short

Handler = Callable[[int, int | bytes, int, int, int], Answer]


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of a dispatch table. ``pack`` is what a deferred reply uses.

    Attributes:
        numbers: of a method that takes numbers in registers: what the machine calls by itself (`Cpu.serve`), the info
            word of its requests, and the shape of result and arguments as `Cpu.call_numbers` has it.
    """

    method: Method
    handle: Handler
    pack: Callable[[Any], Answer]
    numbers: tuple[Callable[..., Any], int, int] | None = None


@dataclass(frozen=True, slots=True)
class _Prepared:
    """What handlers of a method have in common. ``code``: of `_compiled_handler`; None for those with capabilities."""

    method: Method
    decode: Callable[[bytes], tuple[Any, ...]]
    code: CodeType | None


_prepared: dict[int, _Prepared] = {}  # by the identity of the method, which lives as long: comparing two takes longer


def prepare(methods: Iterable[Method]) -> None:
    """Make what handlers of these methods will have in common."""
    for method in methods:
        _prepared_of(method)


def _prepared_of(method: Method) -> _Prepared:
    found = _prepared.get(id(method))
    if found is None:
        code = _compiled(method) if method.capability is None else None
        found = _prepared[id(method)] = _Prepared(method, _decoder(method), code)
    return found


def bind(
    methods: dict[str, Method], implementation: object, keep: KeepLong, keeper: Callable[[], Keeper] = Keeper
) -> dict[int, Entry]:
    """Handlers by label for an object that implements these methods.

    Args:
        keeper: what remembers answers; asked for if there is a method that wants it.
    Raises:
        TypeError: the object lacks a method.
    """
    table = {}
    for name, method in methods.items():
        function = getattr(implementation, name, None)
        if not callable(function):
            raise TypeError(f"{type(implementation).__name__} does not implement {method.full_name}")
        remembering = keeper() if method.repeat is Repeat.REMEMBERED else None
        table[method.label] = _entry(method, function, keep, remembering)
    return table


def _entry(method: Method, function: Callable[..., Any], keep: KeepLong, keeper: Keeper | None) -> Entry:
    pack_result = packer(method)

    def pack(result: Any) -> Answer:
        return EMPTY if result is DEFER else pack_result(result, keep)

    if keeper is not None:
        function = _once(method, function, pack, keeper)
    if method.capability is not None:
        return Entry(method, _capability_handler(method, function, pack), pack)
    return Entry(method, _compiled_handler(method, function, pack), pack, _numbers(method, function))


def _numbers(method: Method, function: Callable[..., Any]) -> tuple[Callable[..., Any], int, int] | None:
    by_position = method.in_registers and method.result_in_register and not _keyword_only(method)
    if not by_position or method.repeat is Repeat.REMEMBERED:
        return None
    result = VALUE_KINDS[method.result[0].kind] if method.result else ValueKind.NOTHING
    shape = shape_of(result, (VALUE_KINDS[value.kind] for value in method.data))
    return function, abi.message_info(method.label, len(method.data)), shape


def _once(
    method: Method, function: Callable[..., Any], pack: Callable[[Any], Answer], keeper: Keeper
) -> Callable[..., Answer]:
    """The method of a remembered request: it gives the answer, and is carried out if there is none yet."""

    def once(lane: int, count: int, *arguments: Any, **keywords: Any) -> Answer:
        serving = per_thread.serving
        if serving is None:
            raise RuntimeError("nobody is calling: remembered methods are called by a server's loop")
        caller = serving.caller
        request = keeper.begin(method, caller.name, caller.badge, lane, count)
        if isinstance(request, UnderWay):
            request.wait(serving.defer())
            return EMPTY
        if not isinstance(request, Request):
            return request
        former, current.request = current.request, request
        try:
            answer = pack(function(*arguments, **keywords))
        except Exception as error:
            if request.deferred is None:
                request.fail(error)
            raise
        finally:
            current.request = former
        if request.deferred is None:
            request.complete(answer)
        return answer

    return once


def _compiled_handler(method: Method, function: Callable[..., Any], pack: Callable[[Any], Answer]) -> Handler:
    """Compiled as the stub is: arguments from registers or bytes, and the commonest results as they are."""
    prepared = _prepared_of(method)
    assert prepared.code is not None
    namespace: dict[str, Any] = {
        "function": function,
        "pack": pack,
        "encode": encode,
        "decode": prepared.decode,
        "machine": machine,
        "stray": lambda: InvalidMessage(f"{method.full_name} takes no capability, and one came"),
        "too_short": too_short,
        "malformed": lambda info: _malformed(method, info),
        "undecodable": lambda error: _undecodable(method, error),
        "UNDECODABLE": UNDECODABLE,
        "DEFER": DEFER,
        "EMPTY": EMPTY,
    }
    return FunctionType(prepared.code, namespace)


def _compiled(method: Method) -> CodeType:
    """The code of a function that takes a request and gives the answer."""
    if method.in_registers:
        arguments = [_argument(value.kind, index) for index, value in enumerate(method.data)]
        take = [f"if info != {abi.message_info(method.label, len(method.data))}: raise malformed(info)"]
    else:
        arguments = [f"value{index}" for index in range(len(method.data))]
        values = "".join(f"{each}, " for each in arguments)
        take = [
            "if m0.__class__ is not bytes:",  # a short one, or one that is none
            f"    if info & {EXTRA_CAPS}: raise stray()",
            "    data = machine.message_get(info, m0, m1, m2, m3)",
            "    if data is None: raise too_short(info, m0)",
            "    m0 = data",
            f"try: {values}= decode(m0)",
            "except UNDECODABLE as error: raise undecodable(error) from error",
        ]
    lines = [*take, f"result = function({_keywords(method, arguments)})", *_result_lines(method)]
    source = "\n    ".join(["def handle(info, m0, m1, m2, m3):", *lines])
    module = compile(source, f"<dispatch of {method.full_name}>", "exec")
    return next(each for each in module.co_consts if isinstance(each, CodeType))


def _result_lines(method: Method) -> list[str]:
    if method.repeat is Repeat.REMEMBERED:
        return ["return result"]
    if not method.result_in_register:
        # What is too long for a message, `pack` takes care of, or says so.
        packed = ["data = encode(result)", f"if len(data) <= {MAX_BYTES}: return data", "return pack(result)"]
        whole = method.result_capability is None
        return ["if result is DEFER: return EMPTY", *packed] if whole else ["return pack(result)"]
    match method.result[0].kind if method.result else None:
        case None:
            return ["return EMPTY"]
        case Kind.BOOL:
            return ["if result.__class__ is bool: return 1 if result else 0", "return pack(result)"]
        case Kind.WORD:
            return [f"if result.__class__ is int and 0 <= result < {SMALL}: return result", "return pack(result)"]
    return [f"if result.__class__ is int and {-SMALL} < result < {SMALL}: return result", "return pack(result)"]


def _arguments_of(method: Method) -> str:
    return f"the arguments of {method.full_name}"


def _undecodable(method: Method, error: Exception) -> InvalidMessage:
    return InvalidMessage(f"{_arguments_of(method)} does not decode: {error}")


def _argument(kind: Kind, index: int) -> str:
    match kind:
        case Kind.SIGNED:
            return signed_expression(f"m{index}")
        case Kind.BOOL:
            return f"m{index} != 0"
    return f"m{index}"


def _keywords(method: Method, parts: list[str]) -> str:
    """Positional arguments as they are; keyword-only ones by name."""
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
    annotation: Any = tuple.__class_getitem__(tuple(value.decoded for value in method.data))
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


def _capability_handler(method: Method, function: Callable[..., Any], pack: Callable[[Any], Answer]) -> Handler:
    decode_arguments = _prepared_of(method).decode
    invoke = _invoker(method, function)
    wanted = method.capability
    assert wanted is not None

    def arguments(info: int, words: tuple[int | bytes, int, int, int]) -> list[Any]:
        if not method.in_registers:
            return list(decode(decode_arguments, get(info, *words), _arguments_of(method)))
        if abi.info_length(info) != len(method.data):
            raise _malformed(method, info)
        return [from_register(int(word), value.kind) for value, word in zip(method.data, words, strict=False)]

    def handle(info: int, m0: int | bytes, m1: int, m2: int, m3: int) -> Answer:
        data = iter(arguments(info, (m0, m1, m2, m3)))
        capability = take_capability(info, wanted, method.full_name)
        values = [capability if value is wanted else next(data) for value in method.parameters]
        if capability is None or isinstance(capability, Unwrapped):
            return pack(invoke(values))
        unclaimed = current_task().receive.unclaimed
        unclaimed.add(capability.cptr)
        owned = False
        try:
            answer = pack(invoke(values))
            owned = not method.borrows
            return answer
        finally:
            if not owned:
                _drop(capability)
            unclaimed.discard(capability.cptr)

    return handle


def _drop(capability: Capability) -> None:
    """A method that raised, or borrows, does not own the capability that came with its request, unless it claimed it.

    It may have deleted it: then another thread may have the slot by now.
    """
    task = current_task()
    if capability.cptr in task.receive.unclaimed and not task.slots.is_free(capability.cptr):
        task.delete(capability)
