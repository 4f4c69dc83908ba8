"""Arguments that a person types, made into what an interface's method takes: ``call greeter greet world``.

A word is taken as text where the method wants text, and as JSON (numbers, true, lists, …) everywhere else.
"""

from __future__ import annotations

import shlex
from typing import Final

import msgspec

from libsel4py import MessageTooLong
from libsel4py.interface import Interface
from libsel4py.results import ensure_in_range
from libsel4py.signature import REGISTER_KINDS, Method, Value

LONGEST_SHOWN: Final = 40  # characters of a wrong word


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
    try:
        return getattr(stub, name)(*values)
    except MessageTooLong as error:
        raise BadArguments(f"{usage(method)}: {error}") from None


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
        value = msgspec.json.decode(word, type=parameter.annotation)
        if parameter.kind in REGISTER_KINDS:
            ensure_in_range(value, parameter.kind, parameter.name)
        return value
    except (ValueError, RecursionError) as error:  # msgspec's are ValueErrors
        shown = word if len(word) <= LONGEST_SHOWN else word[:LONGEST_SHOWN] + "…"
        raise BadArguments(f"{usage(method)}: {parameter.name} is not {shown!r} ({error})") from None


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
