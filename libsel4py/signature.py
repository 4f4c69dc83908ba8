"""What an interface's annotations say about a method: the compiler's first phase.

`read_method` turns an annotated function into a frozen `Method`; stubs, dispatch and fingerprints are made from
that and look at no annotation again. All mistakes in an interface are found here, when its class is created.

Which parameters and results travel how:

- up to four `int`, `bool` and `Word` in registers. `int` is signed 64 bits, `Word` unsigned 64 bits.
- a capability class (`Untyped`, `Endpoint`, …; also ``| None``) as a capability. One in each direction, since
  seL4 gives a thread one receive slot. `Unwrapped`: one of the endpoint that is called, of which the badge arrives.
- everything else that msgspec can encode, together, as msgpack.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Annotated, Any, Final, TypeAlias

import msgspec

from libsel4py.abi import MESSAGE_REGISTERS
from libsel4py.capabilities import Capability

WORD_MARK: Final = "sel4py.Word"
Word: TypeAlias = Annotated[int, WORD_MARK]
_WORD: Final = Annotated[int, msgspec.Meta(ge=0)]


class Kind(Enum):
    """How one parameter or result travels."""

    SIGNED = "int"
    WORD = "Word"
    BOOL = "bool"
    PACKED = "packed"
    CAPABILITY = "capability"


class Repeat(Enum):
    """Whether a call may be made again when its server has died of it, or after it."""

    NEVER = "never"
    IDEMPOTENT = "idempotent"  # carried out twice, it has the effect of once
    REMEMBERED = "remembered"  # it brings a request id, and the server answers a repeated one as it did at first


REGISTER_KINDS: Final = frozenset({Kind.SIGNED, Kind.WORD, Kind.BOOL})


@dataclass(frozen=True, slots=True)
class Value:
    """One parameter, or one part of a result. ``annotation`` is the resolved type that msgspec sees."""

    name: str
    kind: Kind
    annotation: object
    capability: type[Capability] | None = None
    optional: bool = False

    @property
    def decoded(self) -> object:
        """The type that bytes from somebody else are decoded as: a Word in them is one, and never negative."""
        return _WORD if self.kind is Kind.WORD else self.annotation


@dataclass(slots=True)
class Options:
    """What the decorators say about a method; each decorator fills in its part."""

    label: int | None = None
    oneway: bool = False
    long_result: bool = False
    local: bool = False
    borrows: bool = False
    repeat: Repeat = Repeat.NEVER
    raises: tuple[type[Exception], ...] = ()


#: What a remembered request brings before its parameters: whose it is, and which of his (`libsel4py.request_ids`).
REQUEST_ID: Final = (Value("lane_", Kind.WORD, int), Value("count_", Kind.WORD, int))


@dataclass(frozen=True, slots=True)
class Method:
    """One method of an interface. ``result`` is None for ``-> None``; a tuple result has several values."""

    interface: str
    name: str
    label: int
    signature: inspect.Signature
    parameters: tuple[Value, ...]
    result: tuple[Value, ...]
    result_is_tuple: bool
    oneway: bool = False
    long_result: bool = False
    raises: tuple[type[Exception], ...] = field(default=())
    borrows: bool = False
    repeat: Repeat = Repeat.NEVER

    @property
    def full_name(self) -> str:
        return f"{self.interface}.{self.name}"

    @property
    def data(self) -> tuple[Value, ...]:
        """What travels beside a capability: the request's id, if it is remembered, and the other parameters."""
        head = REQUEST_ID if self.repeat is Repeat.REMEMBERED else ()
        return head + tuple(value for value in self.parameters if value.kind is not Kind.CAPABILITY)

    @property
    def capability(self) -> Value | None:
        return next((value for value in self.parameters if value.kind is Kind.CAPABILITY), None)

    @property
    def in_registers(self) -> bool:
        """Whether the parameters travel in registers."""
        return len(self.data) <= MESSAGE_REGISTERS and all(value.kind in REGISTER_KINDS for value in self.data)

    @property
    def result_data(self) -> tuple[Value, ...]:
        return tuple(value for value in self.result if value.kind is not Kind.CAPABILITY)

    @property
    def result_capability(self) -> Value | None:
        return next((value for value in self.result if value.kind is Kind.CAPABILITY), None)

    @property
    def result_in_register(self) -> bool:
        """Whether there is no result, or exactly one that travels in a register."""
        return self.result_capability is None and (
            not self.result or (not self.result_is_tuple and self.result[0].kind in REGISTER_KINDS)
        )


def options_of(function: Callable[..., object]) -> Options:
    """The options that decorators attach to a function; made on first use."""
    found: Options | None = getattr(function, "__sel4py_options__", None)
    if found is None:
        found = Options()
        function.__sel4py_options__ = found  # type: ignore[attr-defined]  # read back above
    return found


def read_method(
    interface: str, name: str, label: int, function: types.FunctionType, local_names: dict[str, Any] | None = None
) -> Method:
    """Describe one annotated method.

    Raises:
        TypeError: an annotation is missing, unknown, or of a type that cannot travel; the text names it.
    """
    where = f"{interface}.{name}"
    options = options_of(function)
    signature = inspect.signature(function)
    hints = _hints(where, function, local_names)
    parameters = tuple(_parameters(where, signature, hints))
    if "return" not in hints:
        raise TypeError(f"{where} has no result annotation: write -> None if it has no result")
    parts, is_tuple = _result_parts(where, hints["return"])
    _ensure_one_capability(where, parameters, "parameter")
    _ensure_one_capability(where, parts, "result")
    if options.oneway and parts:
        raise TypeError(f"{where} is oneway but has a result: annotate it with -> None")
    method = Method(
        interface,
        name,
        label,
        signature,
        parameters,
        parts,
        is_tuple,
        options.oneway,
        options.long_result,
        options.raises,
        options.borrows,
        options.repeat,
    )
    if method.borrows and method.capability is None:
        raise TypeError(f"{where} borrows a capability, but takes none")
    _ensure_repeatable(method)
    if method.long_result and (method.result_capability is not None or method.result_in_register):
        raise TypeError(f"{where} is a long_result, but its result always fits one message: remove @long_result")
    return method


def _ensure_repeatable(method: Method) -> None:
    where = method.full_name
    if method.oneway and method.repeat is not Repeat.NEVER:
        raise TypeError(f"{where} is oneway: nobody is told that its server died, so nobody repeats it")
    if method.repeat is not Repeat.REMEMBERED:
        return
    if method.capability is not None or method.result_capability is not None:
        raise TypeError(f"{where} is remembered, and a capability cannot be: make it idempotent, or split it")
    if method.long_result:
        raise TypeError(f"{where} is remembered, and a long result is not: make it idempotent, or split it")


def _hints(where: str, function: types.FunctionType, local_names: dict[str, Any] | None) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function, localns=local_names, include_extras=True)
    except NameError as error:
        raise TypeError(
            f"{where}: {error}. The types of an interface must be known when its class is created: "
            "define or import them above it, at module level"
        ) from error


def _parameters(where: str, signature: inspect.Signature, hints: dict[str, Any]) -> Iterator[Value]:
    names = list(signature.parameters)
    if not names or names[0] != "self":
        raise TypeError(f"{where} must take self first")
    for name in names[1:]:
        if signature.parameters[name].kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD):
            raise TypeError(f"{where}: *{name} cannot travel; name each parameter, or take a list")
        if name not in hints:
            raise TypeError(f"{where}: parameter {name} has no annotation")
        if name.endswith("_"):
            raise TypeError(f"{where}: parameter {name} ends in an underscore, which the stub keeps for itself")
        yield _value(where, name, hints[name])


def _result_parts(where: str, annotation: object) -> tuple[tuple[Value, ...], bool]:
    """A result's values. Only a tuple that contains a capability is taken apart; others are one packed value."""
    if annotation is None or annotation is type(None):
        return (), False
    arguments = typing.get_args(annotation)
    if typing.get_origin(annotation) is tuple and any(_capability_class(part)[0] for part in arguments):
        return tuple(_value(where, f"result {index}", part) for index, part in enumerate(arguments)), True
    return (_value(where, "result", annotation),), False


def _value(where: str, name: str, annotation: object) -> Value:
    capability, optional = _capability_class(annotation)
    if capability is not None:
        return Value(name, Kind.CAPABILITY, annotation, capability, optional)
    if annotation is bool:
        return Value(name, Kind.BOOL, annotation)
    if annotation is int:
        return Value(name, Kind.SIGNED, annotation)
    if typing.get_origin(annotation) is Annotated and WORD_MARK in typing.get_args(annotation)[1:]:
        return Value(name, Kind.WORD, int)
    _ensure_packable(where, name, annotation)
    return Value(name, Kind.PACKED, annotation)


def _capability_class(annotation: object) -> tuple[type[Capability] | None, bool]:
    """The capability class that an annotation names, and whether it is ``| None``."""
    if isinstance(annotation, type) and issubclass(annotation, Capability):
        return annotation, False
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        members = [member for member in typing.get_args(annotation) if member is not type(None)]
        if len(members) == 1 and isinstance(members[0], type) and issubclass(members[0], Capability):
            return members[0], True
    return None, False


def _ensure_packable(where: str, name: str, annotation: object) -> None:
    if _mentions_capability(annotation):
        raise TypeError(f"{where}: {name} holds capabilities inside of {annotation}; pass one as a parameter itself")
    try:
        # The schema visits each nested type, and so finds one that msgpack cannot carry.
        msgspec.json.schema_components([annotation])
    except (TypeError, ValueError) as error:
        raise TypeError(f"{where}: {name} has type {annotation}, which cannot travel: {error}") from error


def _mentions_capability(annotation: object) -> bool:
    if isinstance(annotation, type) and issubclass(annotation, Capability):
        return True
    return any(_mentions_capability(argument) for argument in typing.get_args(annotation))


def _ensure_one_capability(where: str, values: tuple[Value, ...], what: str) -> None:
    names = [value.name for value in values if value.kind is Kind.CAPABILITY]
    if len(names) > 1:
        raise TypeError(
            f"{where} has {len(names)} capability {what}s ({', '.join(names)}): seL4 gives a thread one receive slot, "
            "so a message brings one capability. Split the method, or pass a CNode that holds the others"
        )
