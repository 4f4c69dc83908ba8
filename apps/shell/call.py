"""Arguments that a person types, made into what an interface's method takes: ``call greeter greet world``.

A word is taken as text where the method wants text, and as JSON (numbers, true, lists, …) everywhere else.
"""

from __future__ import annotations

import json
import shlex

import msgspec

from libsel4py.interface import Interface
from libsel4py.signature import Kind, Method, Value


class BadArguments(Exception):
    """The words do not fit the method; the text says what would."""


def call(stub: Interface, name: str, words: list[str]) -> object:
    """Call a method by name with typed words; returns its result.

    Raises:
        BadArguments: no such method, or the words do not fit it.
    """
    method = stub.interface_methods.get(name)
    if method is None:
        known = ", ".join(stub.interface_methods)
        raise BadArguments(f"{type(stub).__name__} has no method {name!r}; it has {known}")
    if method.capability is not None:
        raise BadArguments(f"{name} takes a capability, which cannot be typed")
    if len(words) > len(method.parameters):
        raise BadArguments(usage(method))
    values = [_value(method, parameter, word) for parameter, word in zip(method.parameters, words, strict=False)]
    try:
        method.signature.bind(stub, *values)
    except TypeError:
        raise BadArguments(usage(method)) from None
    return getattr(stub, name)(*values)


def usage(method: Method) -> str:
    """``greet NAME``"""
    return " ".join([method.name, *(parameter.name.upper() for parameter in method.parameters)])


def split(line: str) -> list[str]:
    """Words as a shell splits them. Raises BadArguments for an open quote."""
    try:
        return shlex.split(line)
    except ValueError as error:
        raise BadArguments(f"{error}: quotes come in pairs") from None


def _value(method: Method, parameter: Value, word: str) -> object:
    if parameter.annotation is str:
        return word
    try:
        plain = json.loads(word)
        return msgspec.convert(plain, parameter.annotation) if parameter.kind is Kind.PACKED else plain
    except (ValueError, msgspec.ValidationError) as error:
        raise BadArguments(f"{usage(method)}: {parameter.name} is not {word!r} ({error})") from None


def show(result: object) -> str:
    """A result for a person: text as it is, everything else as JSON."""
    if result is None:
        return ""
    if isinstance(result, str):
        return result
    try:
        return msgspec.json.encode(result).decode()
    except TypeError:
        return repr(result)
