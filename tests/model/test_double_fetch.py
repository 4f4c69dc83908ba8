"""A task that changes its trap frame while the kernel reads it: the first copy is what counts.

After each read the words just read are overwritten; the system call must end as if nobody had touched them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TypeVar

import pytest

import hw.ring
from hw.ram import Ram
from kerneld import layout, message
from kerneld.records import Tcb
from libsel4py import abi
from libsel4py.abi import Label, Syscall
from tests.harness import Machine
from tests.model.all_scenarios import SCENARIOS
from tests.model.checkpoint import Checkpoint
from tests.model.crash import Image
from tests.model.scenarios import Scenario, Stage, Trap

NOISE = b"\xa5"
ENTRIES = (abi.SUBMIT_RING, abi.RING_ENTRIES * abi.RING_ENTRY_BYTES)
TAILS = (abi.SUBMIT_TAILS, abi.RING_ENTRIES * abi.RING_ENTRY_BYTES)
AREA = (abi.IPC_MESSAGE, abi.MESSAGE_MAX_LENGTH * abi.WORD_BYTES)
CAPS = (abi.IPC_CAPS_OR_BADGES, abi.MESSAGE_MAX_EXTRA_CAPS * abi.WORD_BYTES)
T = TypeVar("T")


@cache
def stage() -> tuple[Stage, Checkpoint]:
    machine = Machine(layout.MINIMUM_RAM, check=False, vspace_bits=abi.VSPACE_MIN_BITS)
    made = Stage.new(machine)
    return made, Checkpoint.of(machine)


def _scribble(ram: Ram, frame: int, *parts: tuple[int, int]) -> None:
    for offset, size in parts if frame else ():
        ram.poke(frame + offset, NOISE * size)


def scribble_on_reads(of: Tcb, patch: pytest.MonkeyPatch) -> list[str]:
    """From now on the thread overwrites what the kernel has just read of its frame. Returns the list of reads."""
    take_into = hw.ring.take_into
    reads: list[str] = []

    def take(ram: Ram, frame: int, consumed: int, record: int) -> int | None:
        taken = take_into(ram, frame, consumed, record)
        if frame == of.trap_frame:
            reads.append("entry")
            _scribble(ram, frame, ENTRIES, TAILS)
        return taken

    def after(name: str, read: Callable[[Tcb], T], part: tuple[int, int]) -> None:
        def reading(tcb: Tcb) -> T:
            value = read(tcb)
            if tcb == of:
                reads.append(name)
                _scribble(tcb.ram, tcb.trap_frame, part)
            return value

        patch.setattr(message, name, reading)

    patch.setattr(hw.ring, "take_into", take)
    after("message_words", message.message_words, AREA)
    after("extra_cap_addresses", message.extra_cap_addresses, CAPS)
    return reads


Parts = list[tuple[int, bytearray]]


def carry_out(scenario: Scenario, patch: pytest.MonkeyPatch | None) -> tuple[Parts, Trap, list[str]]:
    """Kernel memory after the scenario's system call, without its caller's trap frame; and what was read of that."""
    made, checkpoint = stage()
    checkpoint.restore(made.machine, fast_path=False)
    trap = scenario.prepare(made)
    frame = trap.thread.tcb.trap_frame
    trap.submit()
    reads = [] if patch is None else scribble_on_reads(trap.thread.tcb, patch)
    made.machine.run()
    made.machine.assert_invariants()
    return Image(made.machine, (frame, 1 << abi.TRAP_FRAME_BITS)).parts, trap, reads


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda row: f"{row.covers.name}-{row.name}")
def test_the_first_copy_counts(scenario: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    expected, trap, _ = carry_out(scenario, None)
    found, _, reads = carry_out(scenario, monkeypatch)
    if scenario.covers is not Syscall.CANCEL:  # which is looked at, and then taken
        assert reads[0] == "entry"
    # What is preempted is decoded and checked anew, from what the frame holds then.
    is_made_again = isinstance(scenario.covers, Label) and reads.count("extra_cap_addresses") > 1
    message_with_caps = isinstance(scenario.covers, Syscall) and trap.caps
    if not message_with_caps and not (
        is_made_again and trap.caps
    ):  # whose capability addresses are looked up again when it is delivered, as in seL4
        assert found == expected, f"what was overwritten after {reads} made a difference"


def test_the_number_of_an_overrun_is_no_system_call() -> None:
    """A task cannot say what only the kernel's own ring code says: it is one more unknown system call."""
    made, checkpoint = stage()
    checkpoint.restore(made.machine)
    assert made.client.syscall(hw.ring.OVERRUN) is None
    done = made.server.syscall(Syscall.RECV, 2, reply=made.server.reply)
    assert done is not None
    assert done.label == abi.FaultLabel.UNKNOWN_SYSCALL
