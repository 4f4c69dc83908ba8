"""A method's result, at both ends: packed by the server, unpacked by the client.

The register case, one int or none, is compiled into stub and dispatch themselves; this is for the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec

from libsel4py import abi
from libsel4py.abi import VALUE_KIND_BITS, ValueKind
from libsel4py.capabilities import Capability, Unwrapped
from libsel4py.errors import InvalidMessage, ServiceError, WrongAnswer
from libsel4py.lowlevel.machine import Answer, Words, machine
from libsel4py.signature import Kind, Method, Value
from libsel4py.task import current_task
from libsel4py.wire import (
    MAX_BYTES,
    PIECE_BYTES,
    Outcome,
    decode,
    get,
    get_partial,
    judged,
    message_too_long,
    put,
    put_partial,
)

MASK: Final = abi.WORD_MASK
SIGN: Final = 1 << 63
EXTRA_CAPS: Final = 0xF80  # bits of the info word: extraCaps and capsUnwrapped
ONE_CAP: Final = 1 << 7
MAX_LONG_RESULT: Final = 1 << 20  # bytes
SMALL: Final = 1 << 30  # below it Python compares numbers in one step
VALUE_KINDS: Final = {Kind.SIGNED: ValueKind.SIGNED, Kind.WORD: ValueKind.WORD, Kind.BOOL: ValueKind.TRUTH}

encode: Final = msgspec.msgpack.Encoder().encode
KeepLong = Callable[[bytes], int]  # keeps the bytes of a long result for the caller, returns its token
FetchMore = Callable[[int, int], bytes]  # token, offset -> the next piece


def shape_of(result: ValueKind, arguments: Iterable[ValueKind]) -> int:
    """Kinds as the machine takes them (`Cpu.call_numbers`)."""
    return sum(kind << VALUE_KIND_BITS * place for place, kind in enumerate([result, *arguments]))


def ensure_in_range(value: object, kind: Kind, what: str) -> int:
    """A register value as its 64-bit word.

    Raises:
        TypeError: it is no number. ValueError: it does not fit.
    """
    if kind is Kind.BOOL:
        return 1 if value else 0
    if not isinstance(value, int):
        raise TypeError(f"{what} must be an int, not {type(value).__name__}")
    low, high = (0, MASK) if kind is Kind.WORD else (-SIGN, SIGN - 1)
    if not low <= value <= high:
        hint = "; annotate it with Word if it is unsigned" if kind is Kind.SIGNED and 0 < value <= MASK else ""
        raise ValueError(f"{what} is {value}, which does not fit {low}..{high} ({kind.value}){hint}")
    return value & MASK


def from_register(word: int, kind: Kind) -> int | bool:
    """A register's word as the value that the annotation names."""
    if kind is Kind.BOOL:
        return word != 0
    return word - (1 << 64) if kind is Kind.SIGNED and word >= SIGN else word


def signed_expression(word: str) -> str:
    """Source of a register's word as a signed number."""
    return f"({word} if {word} < {SMALL} or {word} < {SIGN} else {word} - {1 << 64})"


def word_expression(value: str) -> str:
    """Source of a number that is in range as its 64-bit word."""
    return f"({value} if {value} >= 0 else {value} & {MASK})"


def range_expression(value: str, kind: Kind) -> str:
    """Source of the question whether a number fits a register; the common answer is found without large numbers."""
    if kind is Kind.SIGNED:
        return f"({-SMALL} < {value} < {SMALL} or {-SIGN} <= {value} <= {SIGN - 1})"
    return f"(0 <= {value} < {SMALL} or 0 <= {value} <= {MASK})"


def packer(method: Method) -> Callable[[Any, KeepLong], Answer]:
    """The server's half: a function from the method's return value to the answer."""
    what = f"the result of {method.full_name}"
    values = method.result_data

    def pack_registers(result: Any, keep: KeepLong) -> Words:
        if not method.result:
            return 0, 0, 0, 0, 0
        return 1, ensure_in_range(result, method.result[0].kind, what), 0, 0, 0

    def pack_data(data: object, keep: KeepLong) -> Answer:
        encoded = encode(data)
        if len(encoded) <= MAX_BYTES:
            return encoded
        if not method.long_result:
            raise message_too_long(encoded, what)
        if len(encoded) > MAX_LONG_RESULT:
            raise ServiceError(f"{what} takes {len(encoded)} bytes; a long result may have {MAX_LONG_RESULT}")
        return put_partial(encoded, keep(encoded), what)

    def pack_with_capability(result: Any, keep: KeepLong) -> Words:
        parts = result if method.result_is_tuple else (result,)
        if len(parts) != len(method.result):
            raise TypeError(f"{what} must be a tuple of {len(method.result)}, not of {len(parts)}")
        pairs = list(zip(method.result, parts, strict=True))
        words: Words = (0, 0, 0, 0, 0)
        if values:
            words = put(Outcome.OK, encode([part for value, part in pairs if value.capability is None]), what)
        capability = next(part for value, part in pairs if value.capability is not None)
        if capability is None:
            return words
        machine.set_caps(capability.cptr, 0, 0)
        return words[0] | ONE_CAP, *words[1:]

    if method.result_capability is not None:
        return pack_with_capability
    if method.result_in_register:
        return pack_registers
    return pack_data


def unpacker(method: Method) -> Callable[[Words, FetchMore], Any]:
    """The client's half: a function from an OK or PARTIAL reply to the method's value. Raises WrongAnswer."""
    what = f"the result of {method.full_name}"
    decode_whole = decoder(method)

    def unpack_register(words: Words, fetch: FetchMore) -> Any:
        if words[0] != len(method.result):
            raise WrongAnswer(f"{what} came with info word {words[0]:#x}, not {len(method.result):#x}")
        return from_register(words[1], method.result[0].kind) if method.result else None

    def unpack_data(words: Words, fetch: FetchMore) -> Any:
        if abi.info_label(words[0]) == Outcome.PARTIAL:
            return judged(decode, decode_whole, _collect(words, fetch, what), what)
        return judged(decode, decode_whole, judged(get, *words), what)

    def unpack_with_capability(words: Words, fetch: FetchMore) -> Any:
        value = method.result_capability
        assert value is not None
        capability = _answered_with(words[0], value, what)
        try:
            rest = iter(judged(decode, decode_whole, judged(get, *words), what) if method.result_data else ())
        except InvalidMessage:
            if capability is not None:
                current_task().delete(capability)
            raise
        parts = tuple(capability if part.capability is not None else next(rest) for part in method.result)
        return parts if method.result_is_tuple else parts[0]

    if method.result_capability is not None:
        return unpack_with_capability
    return unpack_register if method.result_in_register else unpack_data


def _answered_with(info: int, value: Value, what: str) -> Capability | None:
    """The capability that an answer has brought. Raises WrongAnswer; InvalidMessage where none has come, of which the
    server may know nothing: whoever made the capability can take it back at any moment."""
    if not info & EXTRA_CAPS:
        return take_capability(info, value, what)
    return judged(take_capability, info, value, what)


def decoder(method: Method) -> Callable[[bytes], Any]:
    """What makes the method's value, without a capability, from packed bytes."""
    if method.result_capability is not None:
        annotation: Any = tuple.__class_getitem__(tuple(value.decoded for value in method.result_data))
    else:
        annotation = method.result[0].decoded if method.result else None
    return msgspec.msgpack.Decoder(annotation).decode


def _collect(words: Words, fetch: FetchMore, what: str) -> bytes:
    total, token, piece = judged(get_partial, words)
    if total > MAX_LONG_RESULT:
        raise WrongAnswer(f"{what} claims {total} bytes; a long result may have {MAX_LONG_RESULT}")
    data = bytearray(piece)
    while len(data) < total:
        piece = fetch(token, len(data))
        if not piece:
            raise WrongAnswer(f"{what} ended after {len(data)} of {total} bytes")
        data += piece
    return bytes(data[:total])


def piece_at(data: bytes, offset: int) -> bytes:
    """The piece of a long result at ``offset``."""
    return data[offset : offset + PIECE_BYTES]


def take_capability(info: int, value: Value, what: str) -> Capability | None:
    """The capability that came with a message, in its slot, which is the caller's from now on.

    Raises:
        InvalidMessage: none came and one is needed, or it named the receiver's own endpoint; an `Unwrapped` did not.
    """
    assert value.capability is not None
    count = abi.info_extra_caps(info)
    if value.capability is Unwrapped:
        if count != 1 or abi.info_caps_unwrapped(info) != 1:
            raise InvalidMessage(f"{what}: {value.name} must be one capability of the endpoint that was called")
        return Unwrapped(0, machine.badges()[0])
    if abi.info_caps_unwrapped(info):
        raise InvalidMessage(
            f"{what}: {value.name} is the receiver's own endpoint; a {value.capability.__name__} is due"
        )
    if count == 1:
        return value.capability(current_task().receive.take())
    if count == 0 and value.optional:
        return None
    why = "Does the sender hold it, and does its endpoint capability have the Grant right?"
    if current_task().receive.slot is None:
        why = "The receiver has no slot free for one: ask again when others have given theirs back, or give it more"
    raise InvalidMessage(
        f"{what}: {value.name} must come with one {value.capability.__name__} capability, and {count} came. {why}"
    )
