"""What a TCB's record says about the process or thread that it is to become."""

from __future__ import annotations

import itertools
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from kerneld.caps import EXTRA_SHIFT
from kerneld.host.mappings import Mappings
from kerneld.host.process import Thread
from kerneld.host.zygote_link import StartRequest
from kerneld.records import CapType, Tcb, TcbSlot
from libsel4py import abi

OUR_LOGS: Final = ("kerneld", "zygote")  # a task of that name would write to the log that people trust


@dataclass(frozen=True, slots=True)
class InitialMap:
    """Memory that a thread's process finds mapped when it starts: a frame (physical address, bytes) at an address."""

    frame: int
    size: int
    address: int
    rights: int


def task_name(image: str) -> str:
    """What a task is called whose TCB has no name: `console` for the image `servers.console.main`."""
    parts = [part for part in image.split(".") if part != "main"]
    return parts[-1] if parts else image


def free_name(name: str, taken: Collection[str]) -> str:
    """The name, numbered if a process has it already: two tasks may run one image, and people tell them apart."""
    if name not in taken and name not in OUR_LOGS:
        return name
    return next(numbered for number in itertools.count(2) if (numbered := f"{name}-{number}") not in taken)


def vspace_of(tcb: Tcb) -> int:
    """Address of the thread's VSpace, 0 if it has none."""
    slot = tcb.slot(TcbSlot.VSPACE)
    return slot.object if slot.cap_type == CapType.VSPACE else 0


def vspace_bits(tcb: Tcb) -> int:
    """log2 of the process's private memory in bytes."""
    return tcb.slot(TcbSlot.VSPACE).word0 >> EXTRA_SHIFT & 63


def frame_bytes(tcb: Tcb) -> int:
    """Bytes of the frame that is the thread's trap frame."""
    return 1 << (tcb.slot(TcbSlot.BUFFER).word0 >> EXTRA_SHIFT + 4 & 63)


def arguments(tcb: Tcb) -> tuple[int, ...]:
    """The six argument words for the boot image."""
    return tuple(tcb.ram.word(tcb.address + Tcb.REGISTERS + 8 * number) for number in abi.ARGUMENT_REGISTERS)


def start_request(thread: Thread, image: int, mappings: Mappings, maps: tuple[InitialMap, ...]) -> StartRequest:
    """What the zygote is asked for a process's first thread. Makes memory files for the frames that are handed out."""
    tcb, process = thread.tcb, thread.process
    return StartRequest(
        image=process.image,
        image_number=image,
        name=process.name,
        arguments=arguments(tcb),
        memory=1 << vspace_bits(tcb),
        frame_fd=mappings.frame_fd(thread.frame, frame_bytes(tcb)),
        doorbell_fd=thread.doorbell,
        control_fd=process.control_fd,
        maps=tuple((each.address, each.size, each.rights) for each in maps),
        map_fds=tuple(mappings.map_fd(each.frame, each.size, each.rights) for each in maps),
    )
