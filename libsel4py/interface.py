"""The interface compiler: from one annotated class to client and server.

    class Greeter(Interface):
        def greet(self, name: str) -> str: ...

    Greeter(endpoint).greet("ada")         # client: the interface class itself, on an endpoint capability

    class Main(Greeter):                    # server: a subclass that implements the methods
        def greet(self, name: str) -> str:
            return f"hello {name}"

Rules: a class that names `Interface` among its direct bases declares (or says ``interface=True`` to extend
another interface); all other subclasses implement. Each public function of a declaration is a method; its label
is its number in order of declaration, from 1, unless ``@method(label=…)`` gives one. `@local` functions are not
methods: they run at the client, and are made of methods. What may travel: `libsel4py.signature`.

mypy takes ``...`` as a missing return; modules that declare interfaces say so once:
``# mypy: disable-error-code="empty-body"``.
"""

from __future__ import annotations

import copy
import hashlib
import importlib
import json
import types
from collections.abc import Callable
from typing import Any, ClassVar, Final, TypeVar

import msgspec

from libsel4py.capabilities import Endpoint
from libsel4py.context import Component
from libsel4py.errors import InterfaceMismatch, InvalidMessage
from libsel4py.lowlevel.syscalls import FOREVER_NS, nanoseconds
from libsel4py.request_ids import Lane
from libsel4py.signature import Method, Repeat, Value, options_of, read_method
from libsel4py.stub import ask, compile_stub
from libsel4py.wire import FIRST_METHOD, IDENTIFY, LAST_METHOD, decode

Function = TypeVar("Function", bound=Callable[..., Any])
Stub = TypeVar("Stub", bound="Interface")

RESERVED: Final = frozenset(
    {"task", "uses", "server", "log", "caller", "defer_reply", "kept", "start", "run", "on_signal"}
)


class Interface(Component):
    """Base of interfaces. A declared interface, called with an endpoint capability, is its client.

    Args:
        endpoint: the capability to call. timeout: seconds for each call; None waits for ever.
    Raises:
        TypeError: an interface without endpoint, or an implementation with one.
    """

    interface_name: ClassVar[str] = ""
    interface_methods: ClassVar[dict[str, Method]] = {}
    known: ClassVar[dict[str, type[Interface]]] = {}

    _endpoint: Endpoint
    _cptr: int
    _timeout_ns: int = FOREVER_NS
    _lane: Lane | None = None

    def __init__(self, endpoint: Endpoint | None = None, *, timeout: float | None = None) -> None:
        if not is_declaration(type(self)):
            if endpoint is not None:
                raise TypeError(f"{type(self).__name__} implements an interface: only the interface itself is a client")
            return
        if endpoint is None:
            raise TypeError(f"{type(self).__name__} is an interface: {type(self).__name__}(endpoint) is its client")
        self._endpoint = endpoint
        self._cptr = endpoint.cptr
        self._timeout_ns = nanoseconds(timeout)

    def __init_subclass__(cls, *, interface: bool | None = None, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if interface is None:
            interface = Interface in cls.__bases__
        if interface:
            _declare(cls)

    def __repr__(self) -> str:
        place = f" at {self._endpoint}" if is_declaration(type(self)) else ""
        return f"<{type(self).__name__}{place}>"


def is_declaration(cls: type) -> bool:
    """Whether a class declares an interface, rather than implements one."""
    return "interface_methods" in vars(cls)


def interfaces_of(cls: type) -> list[type[Interface]]:
    """The interfaces that a class declares or implements, most specific first."""
    found = [base for base in cls.__mro__ if base is not Interface and is_declaration(base)]
    return [base for base in found if not any(other is not base and issubclass(other, base) for other in found)]


def find_interface(name: str) -> type[Interface]:
    """The interface that a system description names: ``module:Class`` (imported if need be) or ``Class``, if loaded.

    Raises:
        LookupError: there is none; the text says which are loaded.
    """
    module, colon, _ = name.partition(":")
    if name not in Interface.known and colon:
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise LookupError(f"interface {name!r}: its module cannot be loaded in this task: {error}") from error
    found = Interface.known.get(name)
    if found is None:
        known = ", ".join(sorted(each for each in Interface.known if ":" in each))
        raise LookupError(f"no interface {name!r} is loaded in this task: name it module:Class (loaded: {known})")
    return found


def _declare(cls: type[Interface]) -> None:
    methods: dict[str, Method] = {}
    for base in reversed(cls.__mro__[1:]):
        methods |= vars(base).get("interface_methods", {})
    label = max((method.label for method in methods.values()), default=FIRST_METHOD - 1)
    for name, function in list(vars(cls).items()):
        if name.startswith("_") or not isinstance(function, types.FunctionType) or options_of(function).local:
            continue
        if name in RESERVED:
            raise TypeError(f"{cls.__name__}.{name}: components keep this name for themselves; choose another")
        label = options_of(function).label or label + 1
        _ensure_label_free(cls.__name__, name, label, methods)
        method = read_method(cls.__name__, name, label, function, dict(vars(cls)))
        methods[name] = method
        setattr(cls, name, compile_stub(method, function))
    cls.interface_name = cls.__name__
    cls.interface_methods = methods
    Interface.known[cls.__name__] = cls
    Interface.known[f"{cls.__module__}:{cls.__qualname__}"] = cls


def _ensure_label_free(interface: str, name: str, label: int, methods: dict[str, Method]) -> None:
    if not FIRST_METHOD <= label <= LAST_METHOD:
        raise TypeError(f"{interface}.{name}: label {label} is not in {FIRST_METHOD}..{LAST_METHOD}")
    for other in methods.values():
        if other.label == label and other.name != name:
            raise TypeError(f"{interface}.{name} and {interface}.{other.name} both have label {label}")


# --- decorators -------------------------------------------------------------------------------------------------


def method(*, label: int) -> Callable[[Function], Function]:
    """Give a method its label, so that methods may be reordered without breaking older clients."""

    def decorate(function: Function) -> Function:
        options_of(function).label = label
        return function

    return decorate


def raises(*exceptions: type[Exception]) -> Callable[[Function], Function]:
    """Declare exceptions that travel typed. Subclasses of `ServiceError` do so undeclared."""

    def decorate(function: Function) -> Function:
        options_of(function).raises += exceptions
        return function

    return decorate


def oneway(function: Function) -> Function:
    """The client sends and does not wait for an answer; what goes wrong is only in the server's log."""
    options_of(function).oneway = True
    return function


def long_result(function: Function) -> Function:
    """The result may be longer than a message (up to 1 MiB packed); the stub fetches it in pieces."""
    options_of(function).long_result = True
    return function


def borrows(function: Function) -> Function:
    """The capability that the method takes is its server's for the length of the call: it is deleted afterwards."""
    options_of(function).borrows = True
    return function


def idempotent(function: Function) -> Function:
    """Carried out twice in a row, it has the effect of once: the client repeats a call that its server died of.

    That holds beside calls of others too: what lies between the two must not matter to who is answered by the second.
    The successor is waited for at the endpoint, for as long as the call's time-out allows.
    """
    return _repeated(function, Repeat.IDEMPOTENT)


def remembered(function: Function) -> Function:
    """The server remembers what it answered: a call that it died of is repeated, and carried out once.

    What the method does and its answer become durable together, when it ends, if that is kept by `Component.kept`. A
    method that does something else as well (asks a device, calls another server) may have done that twice.
    """
    return _repeated(function, Repeat.REMEMBERED)


def _repeated(function: Function, repeat: Repeat) -> Function:
    if options_of(function).repeat is not Repeat.NEVER:
        raise TypeError(f"{function.__qualname__} is {options_of(function).repeat.value} already: say one of the two")
    options_of(function).repeat = repeat
    return function


def local(function: Function) -> Function:
    """A function of the interface's class that is no method: it runs at the client."""
    options_of(function).local = True
    return function


# --- what clients may ask of a stub -----------------------------------------------------------------------------


def with_timeout(stub: Stub, timeout: float | None) -> Stub:
    """The same client with another time limit for each call, in seconds."""
    other = copy.copy(stub)
    other._timeout_ns = nanoseconds(timeout)
    return other


def on_lane(stub: Stub, lane: Lane) -> Stub:
    """The same client, whose remembered requests go by this lane: for one thread, that keeps the lane over its lives.

    An implementation in the place of a client, as tests have it, is returned as it is.
    """
    if not is_declaration(type(stub)):
        return stub
    other = copy.copy(stub)
    other._lane = lane
    return other


def endpoint_of(stub: Interface) -> Endpoint:
    """The endpoint capability that a client calls."""
    return stub._endpoint


def fingerprint(cls: type[Interface]) -> str:
    """64 bits, as hexadecimal, that change when a method's name, label, types or manner do."""
    cached: str | None = vars(cls).get("_fingerprint")
    if cached is None:
        described = [cls.interface_name, *(_describe(each) for each in cls.interface_methods.values())]
        cached = hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:16]
        cls._fingerprint = cached  # type: ignore[attr-defined]  # read through vars() above
    return cached


def _describe(each: Method) -> list[object]:
    return [
        each.name,
        each.label,
        [_describe_value(value) for value in each.parameters],
        [_describe_value(value) for value in each.result],
        [each.oneway, each.long_result, *(["remembered"] if each.repeat is Repeat.REMEMBERED else [])],
    ]


def _describe_value(value: Value) -> list[object]:
    if value.capability is not None:
        return [value.name, value.capability.__name__, value.optional]
    return [value.name, value.kind.value, _without_prose(msgspec.json.schema_components([value.annotation]))]


def _without_prose(schema: object) -> object:
    """Documentation of a type is no part of what it is."""
    match schema:
        case dict():
            return {key: _without_prose(value) for key, value in schema.items() if key not in ("description", "title")}
        case list() | tuple():
            return [_without_prose(each) for each in schema]
    return schema


_decode_identity: Final = msgspec.msgpack.Decoder(tuple[str, str]).decode


def identity(cls: type[Interface]) -> bytes:
    """What a server of this interface answers at label 0."""
    return msgspec.msgpack.encode((cls.interface_name, fingerprint(cls)))


def verify(stub: Interface) -> None:
    """Ask the server which interface it serves on this endpoint.

    Raises:
        InterfaceMismatch: another one, or another version; the text names both.
        Timeout: no answer in the stub's time.
    """
    mine = (type(stub).interface_name, fingerprint(type(stub)))
    try:
        theirs = decode(_decode_identity, ask(stub, IDENTIFY), "the identity of the server")
    except InvalidMessage as error:
        raise InterfaceMismatch(f"the server of {mine[0]} does not answer who it is: {error}") from error
    if theirs != mine:
        raise InterfaceMismatch(
            f"the client speaks {mine[0]} ({mine[1]}), the server {theirs[0]} ({theirs[1]}): "
            "start both from the same version of the interface"
        )
