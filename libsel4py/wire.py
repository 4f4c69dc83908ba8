"""How an interface's calls look as messages: labels, packed bytes, exceptions.

Request: label = the method's (from 1; 0 asks for name and fingerprint; `CONTINUE` fetches more of a long result).
Reply: label `Outcome`. Register values are words 0..3. Packed data is word 0 = number of bytes, then the bytes, 119
words of them at most. Labels 1..10 of a reply are the kernel's error codes: the called capability is gone.

Rules: whatever comes in was written by another process. Lengths are checked against the message-info word before
anything is read, bytes are copied once, and decoding is typed; what does not decode raises `InvalidMessage`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from enum import IntEnum
from typing import Any, Final, NoReturn, TypeVar

import msgspec

from libsel4py import abi
from libsel4py.abi import MESSAGE_MAX_LENGTH, WORD_BYTES
from libsel4py.errors import (
    InvalidMessage,
    KernelError,
    MessageTooLong,
    RemoteError,
    RequestForgotten,
    ServerDied,
    ServiceError,
    UnknownMethod,
    WrongAnswer,
    kernel_error,
    wire_name,
)
from libsel4py.lowlevel.invoke import explanation
from libsel4py.lowlevel.machine import Answer, Words, machine

Decoded = TypeVar("Decoded")

IDENTIFY: Final = 0
FIRST_METHOD: Final = 1
LAST_METHOD: Final = (1 << 32) - 1
CONTINUE: Final = abi.LABEL_MAX
MAX_BYTES: Final = (MESSAGE_MAX_LENGTH - 1) * WORD_BYTES
MAX_EXCEPTION_TEXT: Final = 300  # characters; leaves room for the rest even if each takes three bytes


class Outcome(IntEnum):
    """Label of a reply. 1..10 are left to the kernel's error codes."""

    OK = 0
    DECLARED = 0x100  # an exception that the interface or a ServiceError declares
    UNDECLARED = 0x101  # any other exception
    INVALID_MESSAGE = 0x102
    UNKNOWN_METHOD = 0x103
    PARTIAL = 0x104  # a long result: total bytes, token, and the first piece
    SERVER_DIED = 0x105  # said by whoever answers in the place of a dead server
    FORGOTTEN = 0x106  # a repeated request, of which the server cannot know whether its former life carried it out


_PARTIAL: Final = struct.Struct("<2Q")
PIECE_BYTES: Final = MAX_BYTES - _PARTIAL.size
EMPTY: Final[Words] = (0, 0, 0, 0, 0)
UNDECODABLE: Final = (msgspec.MsgspecError, RecursionError, ValueError)  # what a decoder raises for hostile bytes


def put(label: int, data: bytes, what: str) -> Words:
    """Pack ``data`` as a message of the calling thread; returns info and registers.

    Raises:
        MessageTooLong: more than 952 bytes.
    """
    try:
        return machine.message_put(label, data)
    except ValueError:
        raise message_too_long(data, what) from None


def message_too_long(data: bytes, what: str) -> MessageTooLong:
    return MessageTooLong(
        f"{what} takes {len(data)} bytes packed; a message holds {MAX_BYTES}. Send it in pieces, or hand it over "
        "in a frame; a server's long result can be declared with @long_result"
    )


def get(info: int, word0: int | bytes, word1: int, word2: int, word3: int) -> bytes:
    """The packed bytes of the message that the calling thread has just received, if ``word0`` is not all of them.

    Raises:
        InvalidMessage: the message is shorter than its first word claims.
    """
    if isinstance(word0, bytes):
        return word0
    data = machine.message_get(info, word0, word1, word2, word3)
    if data is None:
        raise too_short(info, word0)
    return data


def as_words(answer: Answer) -> Words:
    """An answer as words; bytes go to the calling thread's message area."""
    if isinstance(answer, bytes):
        return machine.message_put(Outcome.OK, answer)
    return answer if isinstance(answer, tuple) else (1, answer & abi.WORD_MASK, 0, 0, 0)


_HEAD: Final = struct.Struct("<3Q")


def first_words(data: bytes) -> tuple[int, int, int, int]:
    """MR0..MR3 of a message of bytes that has more words than these (`Cpu.answer_recv`)."""
    word1, word2, word3 = _HEAD.unpack_from(data)
    return len(data), word1, word2, word3


def too_short(info: int, word0: int) -> InvalidMessage:
    """What a message is that has no bytes as `put` makes them."""
    return InvalidMessage(f"the message has {info & 127} words, but claims {word0} bytes behind the first")


def decode(decoder: Callable[[bytes], Decoded], data: bytes, what: str) -> Decoded:
    """Decode typed msgpack from another process. Raises InvalidMessage."""
    try:
        return decoder(data)
    except UNDECODABLE as error:
        raise InvalidMessage(f"{what} does not decode: {error}") from error


def put_partial(data: bytes, token: int, what: str) -> Words:
    """The first piece of a long result that is kept under ``token``."""
    return put(Outcome.PARTIAL, _PARTIAL.pack(len(data), token) + data[:PIECE_BYTES], what)


def get_partial(words: Words) -> tuple[int, int, bytes]:
    """Total bytes, token, first piece. Raises InvalidMessage."""
    data = get(*words)
    if len(data) <= _PARTIAL.size:
        raise InvalidMessage("a long result began with an empty piece")
    total, token = _PARTIAL.unpack_from(data)
    return total, token, data[_PARTIAL.size :]


# --- exceptions -----------------------------------------------------------------------------------------------

Plain = bool | int | float | str | bytes | None
_Carried = tuple[str, list[Any], dict[str, str], str]  # wire name, arguments (`Plain`), details, text
_encode: Final = msgspec.msgpack.Encoder().encode
_decode_carried: Final = msgspec.msgpack.Decoder(_Carried).decode
_decode_text: Final = msgspec.msgpack.Decoder(tuple[str, str]).decode


def is_declared(error: BaseException, declared: tuple[type[Exception], ...]) -> bool:
    """Whether the client is to see the exception typed."""
    return isinstance(error, (*declared, ServiceError))


def put_failure(error: Exception, declared: tuple[type[Exception], ...]) -> Words:
    """A server's exception as a reply. Never raises."""
    return put(*pack_failure(error, declared), "an exception")


def pack_failure(error: Exception, declared: tuple[type[Exception], ...]) -> tuple[Outcome, bytes]:
    """A server's exception as it travels. Never raises: what does not fit travels as its text."""
    match error:
        case RequestForgotten():
            return Outcome.FORGOTTEN, b""
        case UnknownMethod():
            return _pack_text(Outcome.UNKNOWN_METHOD, "UnknownMethod", error)
        case InvalidMessage():
            return _pack_text(Outcome.INVALID_MESSAGE, "InvalidMessage", error)
    if not is_declared(error, declared):
        return _pack_text(Outcome.UNDECLARED, type(error).__name__, error)
    details = {}
    if isinstance(error, KernelError):
        details = {"invocation": error.invocation, "explanation": error.explanation[:MAX_EXCEPTION_TEXT]}
    data = _encode((wire_name(type(error)), [_plain(value) for value in error.args], details, ""))
    if len(data) > MAX_BYTES:
        return _pack_text(Outcome.UNDECLARED, type(error).__name__, error)
    return Outcome.DECLARED, data


def _pack_text(outcome: Outcome, name: str, error: Exception) -> tuple[Outcome, bytes]:
    try:
        text = str(error)
    except Exception as second:  # a faulty __str__ must not keep the client waiting
        text = f"(its text cannot be made: {type(second).__name__})"
    clean = [part[:limit].encode("utf-8", "replace").decode() for part, limit in ((name, 100), (text, 200))]
    return outcome, _encode(clean)


def _plain(value: object) -> Plain:
    if value is None or isinstance(value, float | bytes):
        return value
    if isinstance(value, int) and -(1 << 63) <= value < 1 << 64:
        return value
    text = value if isinstance(value, str) else repr(value)
    return text[:MAX_EXCEPTION_TEXT].encode("utf-8", "replace").decode()


def raise_failure(what: str, declared: tuple[type[Exception], ...], words: Words) -> NoReturn:
    """Raise what a reply other than OK says. Raises WrongAnswer if it says nothing that is known."""
    raise judged(_failure, what, declared, words)


def judged(read: Callable[..., Decoded], *arguments: object) -> Decoded:
    """What is read of an answer. Raises WrongAnswer where that raises InvalidMessage."""
    try:
        return read(*arguments)
    except InvalidMessage as error:
        raise WrongAnswer(error.message) from error


def _failure(what: str, declared: tuple[type[Exception], ...], words: Words) -> Exception:
    info, word0, word1, word2, word3 = words
    label = abi.info_label(info)
    if 1 <= label <= max(abi.Error):
        return kernel_error(label, (word0, word1, word2, word3), what, explanation())
    match label:
        case Outcome.SERVER_DIED:
            return ServerDied(f"{what}: the server died after it had taken the request; it may have been carried out")
        case Outcome.FORGOTTEN:
            return RequestForgotten(f"{what}: the server died of the request, and its successor has no record of it")
        case Outcome.DECLARED:
            carried = decode(_decode_carried, get(*words), f"the exception of {what}")
            return _rebuild(carried, declared)
        case Outcome.UNDECLARED | Outcome.INVALID_MESSAGE | Outcome.UNKNOWN_METHOD:
            name, text = decode(_decode_text, get(*words), f"the error of {what}")
            if label == Outcome.UNDECLARED:
                return RemoteError(name, text)
            return (UnknownMethod if label == Outcome.UNKNOWN_METHOD else InvalidMessage)(f"{what}: {text}")
    raise InvalidMessage(f"{what}: the server answered with label {label:#x}, which no interface has")


def _rebuild(carried: _Carried, declared: tuple[type[Exception], ...]) -> Exception:
    """The typed exception if this side knows its class and the class takes the arguments; else a RemoteError."""
    name, arguments, details, text = carried
    kind: type[Exception] | None = next((known for known in _classes(declared) if wire_name(known) == name), None)
    kind = kind or ServiceError.registered.get(name)
    if kind is not None and all(
        value is None or isinstance(value, bool | int | float | str | bytes) for value in arguments
    ):
        try:
            return kind(*arguments, **details)
        except Exception as error:  # the arguments are another process's: any failure means that they do not fit
            text = f"{arguments} (not rebuilt here: {error})"
    return RemoteError(name.rpartition(".")[2], text or ", ".join(map(str, arguments)))


def _classes(declared: tuple[type[Exception], ...]) -> list[type[Exception]]:
    """The declared classes and, below each, its subclasses: a server may raise a narrower one."""
    found = list(declared)
    for kind in found:
        found += [narrower for narrower in kind.__subclasses__() if narrower not in found]
    return found
