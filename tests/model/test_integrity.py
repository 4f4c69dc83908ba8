"""Integrity: whatever hostile tasks ask for, a system call changes only what its caller's authority covers."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import cache
from types import ModuleType
from typing import Any

import pytest

from kerneld import caps, completion, ipc, layout, mdb
from kerneld.core import Core
from kerneld.objects import notification, sched_context, tcb_scheduling, untyped
from kerneld.records import Notification, SchedContext, Slot, Tcb
from kerneld.work import Work
from libsel4py import abi
from libsel4py.abi import Label
from tests.harness import OWN_CNODE, THREAD_CNODE_BITS
from tests.model import deeds, incidents
from tests.model.attacker import Attacker
from tests.model.checkpoint import Checkpoint
from tests.model.hostile import OTHER_TCB, Arena
from tests.model.watch import Watch, WatchedKernel, WatchedMachine

ROUND = 80  # steps from a fresh start on
CHANCE = 0.25  # of a step that it is random bytes, and not a well-formed call
FREE = 40  # a slot of the good server's, for what it might be sent


@cache
def arena() -> tuple[Arena, Checkpoint, WatchedMachine]:
    machine = WatchedMachine(layout.MINIMUM_RAM, check=False, vspace_bits=abi.VSPACE_MIN_BITS)
    on = Arena.new(machine)
    incidents.equip(on)
    return on, Checkpoint.of(machine), machine


def begin(*, alone: bool, fast_path: bool) -> tuple[Arena, Watch]:
    """The hostile and the good anew; where the hostile are ``alone``, none of them has another's TCB."""
    on, checkpoint, machine = arena()
    checkpoint.restore(machine)
    on.server.set_receive(OWN_CNODE, FREE, THREAD_CNODE_BITS)
    if alone:
        for thread in on.hostile:
            machine.root.call(thread.cnode, Label.CNODE_DELETE, (OTHER_TCB, THREAD_CNODE_BITS))
    machine.kernel = kernel = machine.new_kernel(WatchedKernel, fast_path=fast_path)
    assert isinstance(kernel, WatchedKernel)
    kernel.watch = Watch(machine.ram)
    return on, kernel.watch


def attacked(seed: int, batches: int = ROUND, *, fast_path: bool) -> Watch:
    """One round of attacks, every system call compared."""
    on, watch = begin(alone=bool(seed % 2), fast_path=fast_path)
    rng = random.Random(seed)
    attacker = Attacker(on, rng)
    try:
        for batch in range(batches):
            if not (attacker.attack() if rng.random() < CHANCE else deeds.act(on, rng)):
                break
            if batch % 8 == 0:
                on.serve_once()
    except BaseException as error:
        error.add_note(f"round of seed {seed}")
        raise
    return watch


def test_a_system_call_changes_what_its_caller_has_authority_over() -> None:
    watches = [attacked(seed, 40, fast_path=bool(seed & 2)) for seed in (1, 2)]
    assert sum(watch.compared for watch in watches) > 100
    assert sum(watch.changed for watch in watches) > 1000


@pytest.mark.slow
def test_integrity_at_length(capsys: pytest.CaptureFixture[str]) -> None:
    watches = [attacked(seed, fast_path=bool(seed & 2)) for seed in range(1000, 1020)]
    with capsys.disabled():
        print(
            f"\n{sum(watch.compared for watch in watches)} system calls of hostile tasks, each compared with all of RAM"
        )


# --- a kernel that writes elsewhere is found


def _next_thread_is_told_as_well(whole: Any) -> Any:
    def complete(core: Core, tcb: Tcb, badge: int = 0, *more: Any, **named: Any) -> None:
        whole(core, tcb, badge, *more, **named)
        core.ram.set_word(tcb.address + Tcb.SIZE + Tcb.told_badge.offset, badge ^ 0x5A)

    return complete


def _server_loses_its_priority(whole: Any) -> Any:
    def set_priority(core: Core, tcb: Tcb, priority: int) -> None:
        whole(core, tcb, priority)
        arena()[0].server.tcb.priority = 1

    return set_priority


def _signal_wakes_the_client(whole: Any) -> Any:
    def send_signal(core: Core, notification: Notification, badge: int) -> None:
        whole(core, notification, badge)
        arena()[0].client.tcb.fault_label = 1

    return send_signal


def _copies_are_taken_for_children(_: Any) -> Any:
    return lambda parent, child: mdb.same_region(caps.read(parent), caps.read(child))


def _memory_is_cleared_too_far(whole: Any) -> Any:
    def reset(core: Core, slot: Slot, work: Work) -> bool:
        memory = caps.read(slot)
        core.ram.set_word(memory.object + (1 << memory.size_bits) + 8, 0xDEAD)
        return bool(whole(core, slot, work))

    return reset


def _everybody_may_grant(whole: Any) -> Any:
    return lambda core, sender, receiver, badge, can_grant, endpoint=None: whole(
        core, sender, receiver, badge, True, endpoint
    )


def _neighbours_become_originals(whole: Any) -> Any:
    def empty(core: Core, slot: Slot) -> None:
        behind = slot.next
        whole(core, slot)
        if behind is not None:
            behind.revocable = 1 - behind.revocable

    return empty


def _time_is_taken_from_the_client(whole: Any) -> Any:
    def donate(core: Core, context: SchedContext, to: Tcb) -> None:
        whole(core, context, to)
        lost = arena()[0].client.tcb.sched_context
        if lost is not None:
            sched_context.unbind_thread(core, lost)

    return donate


def _attacked_again_and_again() -> None:
    for seed in range(20):
        attacked(seed, fast_path=False)


QUICK = [
    (completion, "complete", _next_thread_is_told_as_well),
    (notification, "send_signal", _signal_wakes_the_client),
    (mdb, "empty", _neighbours_become_originals),
]
RARE = [
    (tcb_scheduling, "set_priority", _server_loses_its_priority),
    (mdb, "is_mdb_parent_of", _copies_are_taken_for_children),
    (untyped, "reset", _memory_is_cleared_too_far),
    (ipc, "transfer", _everybody_may_grant),
    (sched_context, "donate", _time_is_taken_from_the_client),
]


@pytest.mark.parametrize(
    ("module", "name", "mutant"),
    [*QUICK, *(pytest.param(*each, marks=pytest.mark.slow) for each in RARE)],
    ids=[name for _, name, _ in (*QUICK, *RARE)],
)
def test_a_kernel_that_writes_elsewhere_is_found(
    module: ModuleType, name: str, mutant: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    arena()
    monkeypatch.setattr(module, name, mutant(getattr(module, name)))
    with pytest.raises(AssertionError, match="no authority over"):
        _attacked_again_and_again()
