from typing import Final

from typing_extensions import Buffer

from hw.ram import Ram

MOVED: Final[int]
LEFT: Final[int]
MORE: Final[int]
STARVED: Final[int]
CHANGED: Final[int]
HIGH: Final[int]

class Mover:
    def __new__(
        cls,
        ram: Ram,
        page: int,
        table: Buffer,
        counts: Buffer,
        desk: Buffer,
        descriptor: int,
        longest: int,
        most: int,
        budget: int,
        /,
    ) -> Mover: ...
    def turn(self, reads: bool, /) -> int: ...
    def kicked(self) -> object: ...
