from array import array

from typing_extensions import Buffer

from hw.ram import Ram

def layout(offsets: dict[str, int], /) -> bytes: ...
def take(ram: Ram, layout: bytes, tcb: int, /) -> bool: ...
def delete_copies(ram: Ram, layout: bytes, parent: int, thread: int, limit: int, /) -> int: ...
def deletions(ram: Ram, /) -> list[tuple[int, int, int, int]]: ...
def hand(ram: Ram, layout: bytes, shared: tuple[object, ...], /) -> bool: ...
def serve(
    ram: Ram,
    layout: bytes,
    rings: Buffer,
    first: int,
    nanoseconds: int,
    attention: Buffer = ...,
    pages: dict[int, tuple[int, array[int]]] = ...,
    hands: tuple[object, ...] | None = ...,
    kicked: dict[int, object] = ...,
    /,
) -> tuple[int, int, int, int]: ...
def interrupt(ram: Ram, layout: bytes, line: int, /) -> int | None: ...
def hear(
    ram: Ram,
    layout: bytes,
    frame: int,
    tcb: int,
    doorbell: int,
    serves: bool,
    pages: dict[int, tuple[int, array[int]]] = ...,
    hands: tuple[object, ...] | None = ...,
    kicked: dict[int, object] = ...,
    /,
) -> tuple[int, int]: ...
