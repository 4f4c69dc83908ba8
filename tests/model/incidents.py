"""Events that befall the hostile and the good of an arena, and what they need: interrupt lines, budgets, handlers.

The hostile have a line that signals their bell, and the good server one that signals its own. Each hostile thread runs
on a budget that is less than its period, and its timeouts go to what they all share. Notices of the good server's
watch each hostile thread. The good client has a channel to the server, and the hostile to one of them.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from kerneld import channels, death_notices
from kerneld.fast_survey import survey
from kerneld.records import CapType, Channel, ProcessState, SchedContext
from libsel4py import abi
from libsel4py.abi import InitialSlot, Label, ObjectType, Rights, Syscall
from tests.model.hostile import CHANNEL, SERVICE, SHARED, Arena

HOSTILE_LINE, GOOD_LINE, IDLE_LINE = 5, 6, 7
HANDLER = 20  # a slot of each hostile thread: their line's
GOOD_HANDLER = 3  # of the server's
BUDGET_US, PERIOD_US = 500, 5000
TIMEOUT_BADGE, DEATH_BADGE = 78, 4
NOTICES = death_notices.TOLD_AT_ONCE + 2  # of each: some are told later


def equip(arena: Arena) -> None:
    """Give those of a new arena what events need."""
    machine, root = arena.machine, arena.machine.root
    for line, bell, owners, slot in (
        (HOSTILE_LINE, arena.bell, arena.hostile, HANDLER),
        (GOOD_LINE, arena.victim_bell, (arena.server,), GOOD_HANDLER),
    ):
        handler = machine.new_slots()
        root.call(InitialSlot.IRQ_CONTROL, Label.IRQ_CONTROL_GET, (line, handler, 64), (InitialSlot.CNODE,))
        root.call(handler, Label.IRQ_HANDLER_SET_NOTIFICATION, (), (machine.copy(bell, badge=1 << line),))
        for owner in owners:
            machine.grant(owner, handler, slot)
        arena.handlers[line] = handler
    timeouts = machine.copy(arena.shared, Rights.WRITE | Rights.GRANT_REPLY, TIMEOUT_BADGE)
    _connect(arena)
    for thread in arena.hostile:
        words = (BUDGET_US, PERIOD_US, 0, 0, 0)
        root.call(InitialSlot.FIRST_FREE, Label.SCHED_CONTROL_CONFIGURE_FLAGS, words, (thread.sched_context,))
        root.call(thread.cap, Label.TCB_SET_TIMEOUT_ENDPOINT, (), (timeouts,))
        told = machine.copy(arena.victim_bell, Rights.WRITE, DEATH_BADGE)
        notices = machine.retype(ObjectType.DEATH_NOTICE, count=NOTICES)
        for notice in range(notices, notices + NOTICES):
            root.call(notice, Label.DEATH_NOTICE_WATCH, (), (thread.cap, told))


def _connect(arena: Arena) -> None:
    """A hostile thread and the good server listen, the others of theirs have channels to them."""
    first, *others = arena.hostile
    assert first.syscall(Syscall.LISTEN, SHARED) is not None
    for thread in others:
        thread.call(CHANNEL, Label.CHANNEL_CONNECT, (), (SHARED,))
    server, client = arena.server, arena.client
    server.submit(Syscall.CANCEL)
    arena.machine.run()
    while server.completion() is not None:
        pass  # of what it waited for, and of the cancellation
    assert server.syscall(Syscall.LISTEN, SERVICE) is not None
    assert server.syscall(Syscall.RECV, SERVICE, reply=server.reply) is None
    arena.machine.grant(client, arena.machine.retype(ObjectType.CHANNEL), CHANNEL)
    client.call(CHANNEL, Label.CHANNEL_CONNECT, (), (SERVICE,))


def befall(arena: Arena, rng: random.Random) -> None:
    """One event, and what the kernel makes of it."""
    rng.choice(KINDS)(arena, rng)
    arena.run()


def _interrupt(arena: Arena, rng: random.Random) -> None:
    """A device raises a line, or one that nobody handles."""
    arena.machine.kernel.interrupt(rng.choice((HOSTILE_LINE, HOSTILE_LINE, GOOD_LINE, GOOD_LINE, IDLE_LINE)))
    arena.machine.settle()


def _acknowledge(arena: Arena, rng: random.Random) -> None:
    """A driver wants to hear of its line again: the good server's by the hands of the initial task."""
    driver = rng.choice(arena.hostile)
    if rng.random() < 0.5 and arena.ready(driver):
        driver.submit(Syscall.CALL, HANDLER, abi.message_info(Label.IRQ_HANDLER_ACK))
    else:
        arena.machine.root.call(arena.handlers[GOOD_LINE], Label.IRQ_HANDLER_ACK)


def _budget(arena: Arena, rng: random.Random) -> None:
    """Time passes, some of it used by whoever runs on a budget; then the kernel looks at it."""
    machine = arena.machine
    contexts = [SchedContext(machine.ram, each) for each in survey(machine.ram).of_type(CapType.SCHED_CONTEXT)]
    context = rng.choice([each for each in contexts if each.period] or contexts)
    used = rng.choice((0, BUDGET_US // 2, BUDGET_US, 2 * BUDGET_US))
    machine.clock.advance(used + rng.choice((0, 0, PERIOD_US)))
    if context.tcb is not None:
        machine.used[context.tcb.address] = machine.used.get(context.tcb.address, 0) + used
    machine.kernel.look_at_budget(context.address)
    machine.settle()


def _end(arena: Arena, rng: random.Random) -> None:
    """A hostile process ends, and is reaped."""
    thread = rng.choice(arena.hostile)
    if thread.tcb.address not in arena.machine.threads or thread.tcb.process == ProcessState.NONE:
        return
    kernel = arena.machine.kernel
    kernel.died(thread.tcb, 9)
    arena.machine.settle()
    kernel.reaped(thread.tcb)
    arena.machine.settle()


def _channel(arena: Arena, rng: random.Random) -> None:
    """The host has no page for a channel that is connected."""
    machine = arena.machine
    found = [Channel(machine.ram, each) for each in survey(machine.ram).of_type(CapType.CHANNEL)]
    connected = [each for each in found if channels.is_connected(each)]
    if connected:
        machine.kernel.channel_failed(rng.choice(connected).address)
        machine.settle()


KINDS: tuple[Callable[[Arena, random.Random], None], ...] = (
    _interrupt,
    _acknowledge,
    _budget,
    _budget,
    _end,
    _channel,
)
