from typing import Final

from typing_extensions import Buffer

from hw.ram import Ram

UNUSUAL: Final[int]
DONE: Final[int]
LATER: Final[int]
OTHER: Final[int]

def transmit(
    ram: Ram, page: int, spans: Buffer, descriptor: int, longest: int, most: int, budget: int, /
) -> tuple[int, int, int]: ...
def receive(
    ram: Ram, page: int, spans: Buffer, descriptor: int, longest: int, most: int, budget: int, /
) -> tuple[int, int, int]: ...
