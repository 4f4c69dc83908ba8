"""What a TCB's record says about the process or thread that it is to become."""

from __future__ import annotations

import itertools
from collections.abc import Collection
from typing import Final

from kerneld.caps import EXTRA_SHIFT
from kerneld.host.intake import Intake
from kerneld.host.mappings import Mappings
from kerneld.host.process import Thread
from kerneld.host.zygote_link import StartRequest
from kerneld.records import CapType, Tcb, TcbSlot, VSpace
from libsel4py import abi

OUR_LOGS: Final = ("kerneld", "zygote")  # a task of that name would write to the log that people trust


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


def frame_bytes(tcb: Tcb) -> int:
    """Bytes of the frame that is the thread's trap frame."""
    return 1 << (tcb.slot(TcbSlot.BUFFER).word0 >> EXTRA_SHIFT + 4 & 63)


def arguments(tcb: Tcb) -> tuple[int, ...]:
    """The six argument words for the boot image."""
    return tuple(tcb.ram.word(tcb.address + Tcb.REGISTERS + 8 * number) for number in abi.ARGUMENT_REGISTERS)


def start_request(thread: Thread, image: int, mappings: Mappings) -> StartRequest:
    """What the zygote is asked for a process's first thread. Makes memory files for the frames that are handed out.

    The descriptors of `maps` are the caller's to close.
    """
    tcb, process = thread.tcb, thread.process
    space = VSpace(tcb.ram, process.vspace)
    frame_fd = mappings.frame_fd(thread.frame, frame_bytes(tcb))
    intake = Intake(mappings, process, space)
    riding = intake.ride()
    mappings.later(intake.step)
    return StartRequest(
        number=process.start,
        image=process.image,
        image_number=image,
        name=process.name,
        arguments=arguments(tcb),
        memory=space.private_bytes,
        frame_fd=frame_fd,
        doorbell_fd=thread.doorbell,
        control_fd=process.control_fd,
        maps=tuple((each.address, 1 << each.size_bits, each.rights) for each, _ in riding),
        map_fds=tuple(descriptor for _, descriptor in riding),
    )
