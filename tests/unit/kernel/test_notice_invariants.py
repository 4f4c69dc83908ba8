"""Each invariant of death notices is contradicted by RAM that somebody has damaged, and by no sound one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kerneld import caps, death_notices, inspection, invariants, notice_invariants
from kerneld.records import DeathNotice, KernelRecord, TreeNode
from libsel4py.abi import DeathNoticeState, Label, ObjectType
from tests.harness import Machine


class Watched:
    """Three endpoints, the first watched by three notices, the others by one each; and of two badges the copies of one,
    by another notice."""

    def __init__(self) -> None:
        self.machine = Machine()
        self.targets = [self.machine.retype(ObjectType.ENDPOINT) for _ in range(3)]
        self.bell = self.machine.retype(ObjectType.NOTIFICATION)
        self.notices = [self._watch(self.targets[number]) for number in (0, 0, 0, 1, 2)]
        self.idle_slot = self.machine.retype(ObjectType.DEATH_NOTICE)
        self.idle = self._record(self.idle_slot)
        self.session, self.shared = (self.machine.copy(self.targets[2], badge=badge) for badge in (1, 2))
        self.copy = self.machine.copy(self.shared)
        copies = self.machine.retype(ObjectType.DEATH_NOTICE)
        self.machine.root.call(copies, Label.DEATH_NOTICE_WATCH_COPIES, (), [self.shared, self.bell])
        self.machine.assert_invariants()

    def _record(self, slot: int) -> DeathNotice:
        return DeathNotice(self.machine.ram, self.machine.slot(slot).object)

    def _watch(self, target: int) -> DeathNotice:
        slot = self.machine.retype(ObjectType.DEATH_NOTICE)
        self.machine.root.call(slot, Label.DEATH_NOTICE_WATCH, (), [target, self.bell])
        return self._record(slot)

    @property
    def kernel(self) -> KernelRecord:
        return self.machine.kernel.core.kernel

    def tell_none(self) -> None:
        """The first target has ended as far as its notices are concerned, and nobody is told yet."""
        with pytest.MonkeyPatch.context() as patch, self.machine.ram.transaction():
            patch.setattr(death_notices, "TOLD_AT_ONCE", 0)
            death_notices.object_destroyed(self.machine.kernel.core, caps.read(self.machine.slot(self.targets[0])))
        self.machine.assert_invariants()


def root_of(on: Watched) -> TreeNode:
    root = on.kernel.watched
    assert root is not None
    return root


def broken_ring(on: Watched) -> None:
    on.notices[0].behind = on.notices[0]


def two_firsts(on: Watched) -> None:
    on.notices[1].is_first = 1


def idle_but_linked(on: Watched) -> None:
    on.idle.before = on.notices[0]


def watches_in_another_state(on: Watched) -> None:
    on.notices[3].state = DeathNoticeState.DESTROYED


def lost_root(on: Watched) -> None:
    on.kernel.watched = None


def wrong_order(on: Watched) -> None:
    root = root_of(on)
    lower, higher = root.lower, root.higher
    root.lower, root.higher = higher, lower


def wrong_height(on: Watched) -> None:
    root_of(on).height = 7


def watches_nobody(on: Watched) -> None:
    key = on.notices[4].key + 32 * 1024
    on.notices[4].key = key


def signals_an_endpoint(on: Watched) -> None:
    slot, endpoint = on.notices[3].slot, on.machine.slot(on.targets[0])
    slot.word0 = endpoint.word0


def telling_is_lost(on: Watched) -> None:
    on.kernel.telling = None


def telling_of_no_end(on: Watched) -> None:
    on.notices[0].reason = DeathNoticeState.WATCHING


def telling_is_no_ring(on: Watched) -> None:
    on.notices[0].telling_behind = on.notices[1]


def marked_in_vain(on: Watched) -> None:
    on.machine.slot(on.session).watched = 1


def not_marked(on: Watched) -> None:
    on.machine.slot(on.shared).watched = 0


def marked_without_copies(on: Watched) -> None:
    on.machine.slot(on.copy).first_badged = 1  # as of another badge of the same number


DAMAGE: dict[Callable[[Watched], None], str] = {
    broken_ring: "notice-ring",
    two_firsts: "notice-ring",
    idle_but_linked: "notice-ring",
    watches_in_another_state: "notice-ring",
    lost_root: "notice-found",
    wrong_order: "notice-found",
    wrong_height: "notice-found",
    watches_nobody: "notice-target",
    marked_in_vain: "notice-target",
    not_marked: "notice-target",
    marked_without_copies: "notice-target",
    signals_an_endpoint: "notice-signals",
    telling_is_lost: "notice-telling",
    telling_of_no_end: "notice-telling",
    telling_is_no_ring: "notice-telling",
}


TELLING = (telling_is_lost, telling_of_no_end, telling_is_no_ring)  # damage to notices that are to be told


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: damage.__name__)
def test_damage_is_found(damage: Callable[[Watched], None]) -> None:
    on = Watched()
    if damage in TELLING:
        on.tell_none()
    with on.machine.ram.transaction():
        damage(on)
    assert DAMAGE[damage] in {violation.name for violation in invariants.check(on.machine.ram)}


def test_a_ring_is_walked_once_however_many_are_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A started kernel looks at all of them, before it serves anybody."""
    on, walked, ring = Watched(), list[int](), notice_invariants._ring

    def counted(*arguments: Any) -> list[DeathNotice]:
        found = ring(*arguments)
        walked.append(len(found))
        return found

    monkeypatch.setattr(notice_invariants, "_ring", counted)
    on.machine.assert_invariants()
    assert sum(walked) == 6  # of three objects, and of copies


def test_every_predicate_is_tried() -> None:
    assert {item.name for item in notice_invariants.PREDICATES} == set(DAMAGE.values())


def test_notices_can_be_inspected() -> None:
    on = Watched()
    on.machine.root.call(on.idle_slot, Label.DEATH_NOTICE_WATCH, (), [on.machine.root.cap, on.bell])
    on.machine.delete(on.targets[1])
    rows = [row for row in inspection.notices(on.machine.ram) if isinstance(row, dict)]
    signals = f"0x{on.machine.slot(on.bell).object:x}, badge 0x0"
    first = f"ENDPOINT 0x{on.machine.slot(on.targets[0]).object:x}"
    assert [row["watches"] for row in rows[:3]] == [first] * 3
    assert (rows[3]["watches"], rows[3]["state"], rows[3]["signals"]) == ("", "DESTROYED", signals)
    assert rows[5]["watches"].startswith(f"TCB 0x{on.machine.root.tcb.address:x} (")
    copies = f"copies of ENDPOINT 0x{on.machine.slot(on.targets[2]).object:x}, badge 0x2"
    assert (rows[6]["watches"], rows[6]["state"]) == (copies, "WATCHING")
