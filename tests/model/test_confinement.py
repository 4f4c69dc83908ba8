"""Authority confinement, with all that hostile tasks can do: after every system call nobody holds what the closure of
the beginning excludes. They make objects of all kinds, control each other's threads, and write random bytes.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from deploy.authority import holdings
from deploy.authority.closure import Closure
from deploy.authority.graph import READABLE, Authority
from deploy.authority.holdings import Held, Holdings
from kerneld import layout
from kerneld.holdings import holdings as in_ram
from libsel4py import abi
from tests.harness import Machine
from tests.model import deeds
from tests.model.attacker import Attacker
from tests.model.checkpoint import Checkpoint
from tests.model.hostile import Arena
from tests.unit.authority.test_confinement import raw

CHANCE = 0.25  # of a step that it is random bytes


class Bound:
    """What each thread's CNode can ever hold, as it follows from what all hold now."""

    def __init__(self, found: Holdings) -> None:
        self.closure = Closure(raw(found))
        self.nodes = {name: number for number, name in enumerate(self.closure.graph.nodes)}
        self.known = {(each.kind, each.object) for each in found.capabilities}
        self.memory = {each.object: _region(each) for each in found.capabilities if each.kind == "UNTYPED"}

    def violations(self, found: Holdings) -> Iterator[str]:
        root = next(each.cnode for each in found.threads if each.is_initial)
        for each in found.capabilities:
            if each.place == root:
                continue
            holders = [self.nodes[each.place]] if each.place in self.nodes else self._who_can_have(each.place)
            if not any(self._covers(node, each) for node in holders):
                yield f"{each.place} holds {each}"

    def _covers(self, node: int, held: Held) -> bool:
        allowed = [self.closure.graph.capabilities[index] for index in self.closure.held_by(node)]
        if (held.kind, held.object) in self.known:
            return any(_is_part(held, each) for each in allowed)
        return any(each.kind == "UNTYPED" and self._is_inside(held.object, each.object) for each in allowed)

    def _who_can_have(self, made: str) -> list[int]:
        """Those who can have the memory that something was made of."""
        return [
            node
            for node in self.nodes.values()
            for index in self.closure.held_by(node)
            if (each := self.closure.graph.capabilities[index]).kind == "UNTYPED" and self._is_inside(made, each.object)
        ]

    def _is_inside(self, made: str, untyped: str) -> bool:
        start, end = self.memory[untyped]
        return start <= _address(made) < end


def _is_part(held: Held, of: Authority) -> bool:
    same = (held.kind, held.object) == (of.kind, of.object)
    within = held.kind not in READABLE or not held.rights & ~of.rights
    return same and within and of.badge in (0, held.badge)


def _address(name: str) -> int:
    return int(name.partition("/")[0], 16)


def _region(untyped: Held) -> tuple[int, int]:
    start = _address(untyped.object)
    return start, start + (1 << int(untyped.object.partition("/")[2]))


class BoundMachine(Machine):
    """A machine that looks after every transaction, once it has a bound."""

    bound: Bound | None = None
    looks = 0
    most = 0

    def settle(self) -> None:
        super().settle()
        if self.bound is not None:
            found = holdings.read(in_ram(self.ram))
            self.looks += 1
            self.most = max(self.most, len(found.capabilities))
            beyond = list(self.bound.violations(found))
            assert not beyond, f"beyond the closure: {beyond}"


def scene() -> tuple[Arena, BoundMachine, Checkpoint]:
    machine = BoundMachine(layout.MINIMUM_RAM, check=False, vspace_bits=abi.VSPACE_MIN_BITS)
    on = Arena.new(machine)
    return on, machine, Checkpoint.of(machine)


def run(seeds: range, steps: int) -> int:
    """How many transactions were looked after."""
    on, machine, checkpoint = scene()
    for seed in seeds:
        machine.bound = None
        checkpoint.restore(machine)
        machine.bound = Bound(holdings.read(in_ram(machine.ram)))
        rng = random.Random(seed)
        attacker = Attacker(on, rng)
        for _ in range(steps):
            if not (attacker.attack() if rng.random() < CHANCE else deeds.act(on, rng)):
                break
    begun = len(holdings.read(in_ram(machine.ram)).capabilities)
    assert machine.most > begun // 2, "objects were made and handed on, or nothing was tested"
    return machine.looks


def test_the_hostile_come_to_hold_nothing_that_the_closure_excludes() -> None:
    assert run(range(1), 25) > 25


@pytest.mark.slow
def test_the_hostile_come_to_hold_nothing_at_length() -> None:
    assert run(range(100, 106), 150) > 1000


@pytest.mark.slow
def test_a_bound_that_is_too_small_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Closure, "_apply_endpoint", lambda *_: None)
    monkeypatch.setattr(Closure, "_unite", lambda *_: None)
    monkeypatch.setattr(Closure, "_connect", lambda *_: None)
    with pytest.raises(AssertionError, match="beyond the closure"):
        run(range(4), 60)
