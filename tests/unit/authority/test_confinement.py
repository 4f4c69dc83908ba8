"""The kernel stays within the closure: after every system call of a random run, nobody holds what it says cannot be.

Threads that share some capabilities act at random; the initial task, which holds everything, does nothing. The closure
is computed once, at the beginning.
"""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from deploy.authority import holdings
from deploy.authority.closure import Closure
from deploy.authority.graph import Authority, Graph
from deploy.authority.holdings import Holdings
from kerneld.holdings import holdings as in_ram
from kerneld.records import CapType, Slot, TcbSlot
from libsel4py import abi
from libsel4py.abi import Label, ObjectType, Rights, Syscall
from tests.harness import OWN_CNODE, OWN_REPLY, Machine, Thread

NAMES = ("ant", "bee", "cat", "dog")
SLOTS = range(1, 9)  # of each thread: what it is given, and room for what it gets
RIGHTS = (Rights.READ, Rights.WRITE | Rights.GRANT, Rights.WRITE | Rights.GRANT_REPLY, Rights.ALL)
NODE_BITS = 8


def raw(found: Holdings) -> Graph:
    """A graph that names objects as the kernel does: for comparing what is held at different times."""
    graph = Graph()
    root = next(each.cnode for each in found.threads if each.is_initial)
    nodes = {each.cnode: graph.add_node(each.cnode) for each in found.threads if each.cnode != root}
    graph.tasks = len(graph.nodes)
    threads = {each.tcb: nodes[each.cnode] for each in found.threads if each.cnode in nodes}
    for each in found.capabilities:
        if each.place in nodes:
            node = {"CNODE": nodes, "TCB": threads}.get(each.kind, {}).get(each.object, -1)
            graph.hold(nodes[each.place], Authority(each.kind, each.object, each.rights, each.badge, node), each.slot)
    return graph


def outside(bound: Closure, now: Graph) -> list[str]:
    """What is held now and is not within the bound: an authority is, if one with as many rights or more is."""
    found = []
    for node, held in enumerate(now.held):
        allowed = [bound.graph.capabilities[index] for index in bound.held_by(node)]
        for index in held:
            has = now.capabilities[index]
            covered = any(
                replace(has, rights=0, badge=0) == replace(each, rights=0, badge=0)
                and not has.rights & ~each.rights
                and each.badge in (0, has.badge)
                for each in allowed
            )
            if not covered:
                found.append(f"{now.nodes[node]} holds {has}")
    return found


def scene(seed: int) -> tuple[Machine, tuple[Thread, ...]]:
    """Four threads, each with a few random capabilities to three endpoints and two frames"""
    rng = random.Random(seed)
    machine = Machine(check=False)
    threads = tuple(machine.thread(name) for name in NAMES)
    objects = [machine.retype(ObjectType.ENDPOINT) for _ in range(3)]
    objects += [machine.retype(ObjectType.FRAME, abi.FRAME_MIN_BITS) for _ in range(2)]
    for thread in threads:
        for index in rng.sample(SLOTS, 3):
            machine.grant(thread, rng.choice(objects), index, rights=rng.choice(RIGHTS))
    return machine, threads


def usable(thread: Thread, right: Rights) -> list[int]:
    """Slots by which a thread can send or receive: by any other it would fault, and nobody would wake it."""
    node = thread.tcb.slot(TcbSlot.CSPACE).object
    slots = [(index, Slot(thread.machine.ram, node + index * Slot.SIZE)) for index in SLOTS]
    return [index for index, slot in slots if slot.cap_type == CapType.ENDPOINT and slot.rights & right]


def step(rng: random.Random, thread: Thread) -> None:
    """One system call by a thread that can make one."""
    source, target = rng.choice(SLOTS), rng.choice(SLOTS)
    to, at = usable(thread, Rights.WRITE), usable(thread, Rights.READ)
    thread.set_receive(OWN_CNODE, target, NODE_BITS)
    info = abi.message_info(0, 0, 1)
    match rng.randrange(7):
        case 0:
            words = (target, NODE_BITS, source, NODE_BITS, int(rng.choice(RIGHTS)))
            copying = abi.message_info(Label.CNODE_COPY, len(words), 1)
            thread.submit(Syscall.CALL, OWN_CNODE, copying, words, caps=(OWN_CNODE,))
        case 1:
            deleting = abi.message_info(Label.CNODE_DELETE, 2, 0)
            thread.submit(Syscall.CALL, OWN_CNODE, deleting, (target, NODE_BITS))
        case 2 if to:
            thread.submit(Syscall.CALL, rng.choice(to), info, caps=(source,))
        case 3 | 4 if at:
            thread.submit(Syscall.RECV, rng.choice(at), reply=OWN_REPLY)
        case 5:
            thread.submit(Syscall.NB_SEND, OWN_REPLY, info, caps=(source,))
        case _ if to:
            thread.submit(Syscall.NB_SEND, rng.choice(to), info, caps=(source,))


def run(seed: int, steps: int) -> tuple[list[str], int]:
    """What was outside the closure, and how many capabilities arrived by grants."""
    machine, threads = scene(seed)
    begin = raw(holdings.read(in_ram(machine.ram)))
    bound, rng, arrived = Closure(begin), random.Random(seed), set()
    for _ in range(steps):
        thread = rng.choice(threads)
        if thread.state.name != "RUNNING":
            if rng.randrange(4):
                continue  # it waits on: others may answer
            thread.submit(Syscall.CANCEL)
        else:
            step(rng, thread)
        machine.run()
        for each in threads:
            while each.completion() is not None:
                pass
        now = raw(holdings.read(in_ram(machine.ram)))
        found = outside(bound, now)
        if found:
            return found, len(arrived)
        first = begin.edges()
        objects = {(name, each.object) for name, _, each in first}
        arrived |= {(name, each.object) for name, _, each in now.edges()} - objects
    return [], len(arrived)


def test_nobody_comes_to_hold_what_the_closure_excludes() -> None:
    results = [run(seed, 60) for seed in range(2)]
    assert [found for found, _ in results if found] == []
    assert sum(arrived for _, arrived in results) > 0, "capabilities were granted, or nothing was tested"


@pytest.mark.slow
def test_confinement_at_length() -> None:
    results = [run(seed, 300) for seed in range(3)]
    assert [found for found, _ in results if found] == []


def test_a_bound_that_is_too_small_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the rules of endpoints left out, some run of the kernel leaves it."""
    monkeypatch.setattr(Closure, "_apply_endpoint", lambda *_: None)
    assert any(run(seed, 60)[0] for seed in range(4))
