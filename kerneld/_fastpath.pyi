from array import array

from typing_extensions import Buffer

from hw.ram import Ram

def layout(offsets: dict[str, int], /) -> bytes: ...
def take(ram: Ram, layout: bytes, tcb: int, /) -> bool: ...
def delete_copies(ram: Ram, layout: bytes, parent: int, thread: int, limit: int, /) -> int: ...
def deletions(ram: Ram, /) -> list[tuple[int, int, int, int]]: ...
def serve(
    ram: Ram,
    layout: bytes,
    rings: Buffer,
    first: int,
    nanoseconds: int,
    attention: Buffer = ...,
    pages: dict[int, tuple[int, array[int]]] = ...,
    /,
) -> tuple[int, int, int, int]: ...
