"""Modes of `open` as flags, and the layers of `io` above a raw file."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import IO, Any, Final, Literal, TypeAlias

from libsel4py.interfaces.file import OpenFlags

TextMode: TypeAlias = Literal["r", "w", "a", "x", "r+", "w+", "a+", "x+", "rt", "wt", "at", "xt"]
BUFFERED_BYTES: Final = 64 << 10
_FLAGS: Final = {
    "r": OpenFlags.READ,
    "w": OpenFlags.WRITE | OpenFlags.CREATE | OpenFlags.TRUNCATE,
    "a": OpenFlags.WRITE | OpenFlags.CREATE | OpenFlags.APPEND,
    "x": OpenFlags.WRITE | OpenFlags.CREATE | OpenFlags.EXCLUSIVE,
}


def flags_of(mode: str) -> tuple[OpenFlags, bool]:
    """The flags of a mode of `open`, and whether it is binary. Raises ValueError."""
    letters = set(mode)
    kinds = letters & set(_FLAGS)
    if len(letters) != len(mode) or letters - set("rwaxbt+") or len(kinds) != 1 or {"b", "t"} <= letters:
        raise ValueError(f"invalid mode: {mode!r}")
    flags = _FLAGS[kinds.pop()]
    if "+" in letters:
        flags |= OpenFlags.READ | OpenFlags.WRITE
    return flags, "b" in letters


def layered(
    make_raw: Callable[[OpenFlags], io.RawIOBase],
    mode: str,
    buffering: int,
    encoding: str | None,
    errors: str | None,
    newline: str | None,
) -> IO[Any]:
    """A raw file with what `open` puts above it: the same rules, but that text is UTF-8 if nothing is said.

    Raises:
        ValueError: arguments that do not fit each other; then nothing was opened.
    """
    flags, binary = flags_of(mode)
    if binary and (encoding is not None or errors is not None or newline is not None):
        raise ValueError("binary mode takes no encoding, errors or newline argument")
    if buffering == 0 and not binary:
        raise ValueError("can't have unbuffered text I/O")
    raw = make_raw(flags)
    if buffering == 0:
        return raw  # type: ignore[return-value]  # as io.open does
    size = buffering if buffering > 1 else BUFFERED_BYTES
    buffered: io.BufferedReader | io.BufferedWriter | io.BufferedRandom
    if flags & OpenFlags.READ and flags & OpenFlags.WRITE:
        buffered = io.BufferedRandom(raw, size)
    elif flags & OpenFlags.WRITE:
        buffered = io.BufferedWriter(raw, size)
    else:
        buffered = io.BufferedReader(raw, size)
    if binary:
        return buffered
    try:
        text = io.TextIOWrapper(buffered, encoding or "utf-8", errors, newline, line_buffering=buffering == 1)
    except BaseException:
        buffered.close()
        raise
    text.mode = mode  # type: ignore[misc]  # as io.open does
    return text
