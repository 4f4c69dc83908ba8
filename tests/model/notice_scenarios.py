"""Scenarios of death notices: asked for, cancelled, told, one and many. They join the table of `scenarios.py`."""

from __future__ import annotations

from kerneld.death_notices import TOLD_AT_ONCE
from libsel4py.abi import InitialSlot, Label, ObjectType, Syscall
from tests.harness import THREAD_CNODE_BITS
from tests.model.scenarios import CNODE, TABLE, Stage, Trap, at, invocation


def watch(stage: Stage, *targets: int) -> int:
    """A new notice for each target; the first one's slot."""
    first = stage.machine.retype(ObjectType.DEATH_NOTICE, 0, len(targets))
    for number, target in enumerate(targets):
        stage.root.call(first + number, Label.DEATH_NOTICE_WATCH, (), (target, stage.notification))
    return first


def endpoints(stage: Stage, count: int) -> range:
    first = stage.machine.retype(ObjectType.ENDPOINT, 0, count)
    return range(first, first + count)


@TABLE.of(Label.DEATH_NOTICE_WATCH)
def watch_and_turn(stage: Stage) -> Trap:
    """The tree of what is watched turns about, up to its root."""
    targets = endpoints(stage, 7)
    watch(stage, *targets[:6])
    notice = stage.machine.retype(ObjectType.DEATH_NOTICE)
    return invocation(stage, notice, Label.DEATH_NOTICE_WATCH, (), (targets[6], stage.notification))


@TABLE.of(Label.DEATH_NOTICE_WATCH)
def watch_what_others_watch(stage: Stage) -> Trap:
    watch(stage, stage.endpoint, stage.endpoint)
    notice = stage.machine.retype(ObjectType.DEATH_NOTICE)
    return invocation(stage, notice, Label.DEATH_NOTICE_WATCH, (), (stage.endpoint, stage.notification))


@TABLE.of(Label.DEATH_NOTICE_WATCH)
def watch_again(stage: Stage) -> Trap:
    """One that was told has its notification still."""
    target = endpoints(stage, 1)[0]
    notice = watch(stage, target)
    stage.machine.delete(target)
    return invocation(stage, notice, Label.DEATH_NOTICE_WATCH, (), (stage.endpoint, stage.notification))


@TABLE.of(Label.DEATH_NOTICE_READ)
def read_a_notice(stage: Stage) -> Trap:
    return invocation(stage, watch(stage, stage.endpoint), Label.DEATH_NOTICE_READ)


@TABLE.of(Label.DEATH_NOTICE_CANCEL)
def cancel_from_the_middle(stage: Stage) -> Trap:
    """The next node in order takes its place."""
    first = watch(stage, *endpoints(stage, 7))
    return invocation(stage, first + 3, Label.DEATH_NOTICE_CANCEL)


@TABLE.of(Label.DEATH_NOTICE_CANCEL)
def cancel_the_first_of_some(stage: Stage) -> Trap:
    first = watch(stage, *endpoints(stage, 2), *[stage.endpoint] * 3)
    return invocation(stage, first + 2, Label.DEATH_NOTICE_CANCEL)


@TABLE.of(Label.CNODE_DELETE)
def delete_a_watched_object(stage: Stage) -> Trap:
    targets = endpoints(stage, 5)
    watch(stage, *targets, targets[2])
    return invocation(stage, CNODE, Label.CNODE_DELETE, at(targets[2]))


@TABLE.of(Label.CNODE_DELETE)
def delete_what_many_watch(stage: Stage) -> Trap:
    target = endpoints(stage, 1)[0]
    watch(stage, *[target] * (TOLD_AT_ONCE + 3))
    return invocation(stage, CNODE, Label.CNODE_DELETE, at(target))


@TABLE.of(Label.CNODE_DELETE)
def delete_a_notice_with_the_last_notification(stage: Stage) -> Trap:
    """What it signals goes with it."""
    own = stage.machine.retype(ObjectType.NOTIFICATION)
    notice = stage.machine.retype(ObjectType.DEATH_NOTICE)
    stage.root.call(notice, Label.DEATH_NOTICE_WATCH, (), (stage.endpoint, own))
    stage.machine.delete(own)
    return invocation(stage, CNODE, Label.CNODE_DELETE, at(notice))


@TABLE.of(Label.CNODE_REVOKE)
def revoke_memory_of_a_notice_that_watches_itself(stage: Stage) -> Trap:
    pool = stage.machine.retype(ObjectType.UNTYPED, 12)
    notice = stage.machine.retype(ObjectType.DEATH_NOTICE, untyped=pool)
    stage.root.call(notice, Label.DEATH_NOTICE_WATCH, (), (notice, stage.notification))
    return invocation(stage, CNODE, Label.CNODE_REVOKE, at(pool))


@TABLE.of(Label.CNODE_DELETE)
def delete_a_watched_thread(stage: Stage) -> Trap:
    watch(stage, stage.client.cap)
    stage.root.call(stage.client.cnode, Label.CNODE_DELETE, (250, THREAD_CNODE_BITS))
    return invocation(stage, CNODE, Label.CNODE_DELETE, at(stage.client.cap))


@TABLE.of(Syscall.EXIT)
def exit_while_watched(stage: Stage) -> Trap:
    watch(stage, stage.client.cap, int(InitialSlot.TCB), stage.client.cap)
    return Trap(stage.client, Syscall.EXIT, words=(3,))


def watch_copies(stage: Stage, *targets: int) -> int:
    """As `watch`, for the copies of each."""
    first = stage.machine.retype(ObjectType.DEATH_NOTICE, 0, len(targets))
    for number, target in enumerate(targets):
        stage.root.call(first + number, Label.DEATH_NOTICE_WATCH_COPIES, (), (target, stage.notification))
    return first


def session(stage: Stage, copies: int) -> tuple[int, range]:
    """A badge of an endpoint, and copies of it."""
    badged = stage.machine.copy(stage.endpoint, badge=7)
    made = [stage.machine.copy(badged) for _ in range(copies)]
    return badged, range(badged + 1, badged + 1 + len(made))


@TABLE.of(Label.DEATH_NOTICE_WATCH_COPIES)
def watch_copies_that_others_watch(stage: Stage) -> Trap:
    badged, _ = session(stage, 2)
    watch_copies(stage, badged)
    notice = stage.machine.retype(ObjectType.DEATH_NOTICE)
    return invocation(stage, notice, Label.DEATH_NOTICE_WATCH_COPIES, (), (badged, stage.notification))


@TABLE.of(Label.DEATH_NOTICE_WATCH_COPIES)
def watch_copies_of_which_there_are_none(stage: Stage) -> Trap:
    badged, _ = session(stage, 0)
    notice = stage.machine.retype(ObjectType.DEATH_NOTICE)
    return invocation(stage, notice, Label.DEATH_NOTICE_WATCH_COPIES, (), (badged, stage.notification))


@TABLE.of(Label.DEATH_NOTICE_CANCEL)
def cancel_the_only_one_that_watches_copies(stage: Stage) -> Trap:
    badged, _ = session(stage, 1)
    return invocation(stage, watch_copies(stage, badged), Label.DEATH_NOTICE_CANCEL)


@TABLE.of(Label.CNODE_DELETE)
def delete_the_last_copy(stage: Stage) -> Trap:
    badged, copies = session(stage, 1)
    watch_copies(stage, badged, badged)
    return invocation(stage, CNODE, Label.CNODE_DELETE, at(copies[0]))


@TABLE.of(Label.CNODE_REVOKE)
def revoke_copies_that_are_watched(stage: Stage) -> Trap:
    badged, _ = session(stage, 3)
    watch_copies(stage, badged, badged)
    return invocation(stage, CNODE, Label.CNODE_REVOKE, at(badged))


@TABLE.of(Label.CNODE_REVOKE)
def revoke_what_watched_capabilities_were_made_from(stage: Stage) -> Trap:
    badged, _ = session(stage, 2)
    other, _ = session(stage, 2)
    watch_copies(stage, badged, other)
    return invocation(stage, CNODE, Label.CNODE_REVOKE, at(stage.endpoint))


@TABLE.of(Label.CNODE_MOVE)
def move_a_capability_whose_copies_are_watched(stage: Stage) -> Trap:
    badged, _ = session(stage, 1)
    watch_copies(stage, badged)
    return invocation(stage, CNODE, Label.CNODE_MOVE, (*at(stage.machine.new_slots()), *at(badged)), (CNODE,))
