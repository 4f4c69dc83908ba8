"""Constructors on the pure kernel: what is a hole, what a requestor's approval covers, and what a product holds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from kerneld import caps
from kerneld.records import CapType, Slot, Tcb, TcbSlot
from libsel4py.abi import ObjectType, Rights
from libsel4py.badges import Badges
from libsel4py.capabilities import Capability, Endpoint, Untyped
from libsel4py.environment import Environment
from libsel4py.environment import Slot as OwnSlot
from libsel4py.errors import NotEnoughMemory
from libsel4py.interfaces.constructor import BadPart, NotConfined, NotSealed, Sealed
from libsel4py.results import PIECE_BYTES, encode
from libsel4py.session import Session, Sessions
from libsel4py.task import Task
from servers.constructor.parts import Contents, Program
from servers.constructor.product import SLOT_BITS, SLOTS, Product, make, pool_bits_for
from tests.unit.servers.root_board import Root, root, task

PROGRAM = Program("an.image", 1, "a.module:Interface", 22, 14)


@dataclass
class Board:
    """The constructor server's part, acted for by root."""

    root: Root
    task: Task
    endpoint: Endpoint

    def make(self, object_type: ObjectType, size_bits: int = 0) -> Capability:
        return Capability(self.root.authority.make("test", object_type, size_bits))

    def minted(self, source: Capability, rights: Rights, badge: int = 0) -> Capability:
        slot, cnode = self.task.slots.allocate(), self.task.cnode
        if badge:
            cnode.mint(slot, cnode, source.cptr, badge, rights)
        else:
            cnode.copy(slot, cnode, source.cptr, rights)
        return Capability(slot)

    def product(self, contents: Contents, pool: Capability) -> Session[Product]:
        """One made of a copy of this memory, as comes with a message."""
        lent = Untyped(self.minted(pool, Rights.ALL).cptr)
        badges, control = Badges(self.endpoint, self.task), self.root.authority.sched_control
        sessions: Sessions[Product] = Sessions(self.task, slots=SLOTS)
        return sessions.open(lent, lambda made: make(self.task, made, contents, badges, control))

    def held(self, product: Product) -> dict[int, caps.Cap]:
        """What the product's CNode holds, as the kernel has it."""
        address = self.root.cap(product.cnode.cptr).object
        slots = (Slot(self.root.machine.ram, address + index * Slot.SIZE) for index in range(1 << SLOT_BITS))
        found = {index: caps.read(slot) for index, slot in enumerate(slots)}
        return {index: cap for index, cap in found.items() if not cap.is_null}


@pytest.fixture
def board() -> Iterator[Board]:
    with root(task("idle")) as made:
        own = Task(Environment("constructor"))
        own.cnode, own.tcb = made.authority.cnode, made.authority.tcb
        own.slots, own.memory = made.authority.slots, made.authority.memory
        yield Board(made, own, made.endpoint)


def test_all_is_a_hole_but_memory_that_can_only_be_read(board: Board) -> None:
    frame = board.make(ObjectType.FRAME, 12)
    endpoint, notification = board.make(ObjectType.ENDPOINT), board.make(ObjectType.NOTIFICATION)
    found = {
        "read-only": board.minted(frame, Rights.READ),
        "without rights": board.minted(frame, Rights.NONE),
        "frame": frame,
        "write-only": board.minted(frame, Rights.WRITE),
        "endpoint": endpoint,
        "receiver": board.minted(endpoint, Rights.READ),
        "waiter": board.minted(notification, Rights.READ),
        "pool": board.make(ObjectType.UNTYPED, 12),
    }
    contents = Contents("builder", PROGRAM)
    holes = {name: contents.install(name, "", capability) for name, capability in found.items()}
    assert [name for name, is_hole in holes.items() if not is_hole] == ["read-only", "without rights"]
    others = Contents("builder", PROGRAM)
    for object_type, size_bits in ((ObjectType.CNODE, 4), (ObjectType.TCB, 0), (ObjectType.VSPACE, 12)):
        assert others.install(object_type.name, "", board.make(object_type, size_bits))
    for object_type, size_bits in ((ObjectType.REPLY, 0), (ObjectType.SCHED_CONTEXT, 8), (ObjectType.CHANNEL, 0)):
        assert others.install(object_type.name, "", board.make(object_type, size_bits))
    assert others.install("control", "", board.root.authority.sched_control)


def test_a_hole_that_its_builder_calls_harmless_is_a_hole(board: Board) -> None:
    contents = Contents("builder", PROGRAM)
    assert contents.install("read_only_memory", "libsel4py.dataspace:SharedMemory", board.make(ObjectType.ENDPOINT))
    with pytest.raises(NotConfined, match="read_only_memory"):
        contents.ensure_confined([])
    contents.ensure_confined(["read_only_memory"])


def test_what_was_told_stays_so(board: Board) -> None:
    contents = Contents("builder")
    with pytest.raises(NotSealed):
        contents.seal()
    contents.set_program(PROGRAM)
    contents.install("a", "", board.make(ObjectType.ENDPOINT))
    with pytest.raises(BadPart, match="installed already"):
        contents.install("a", "", board.make(ObjectType.ENDPOINT))
    with pytest.raises(BadPart, match="gone already"):
        contents.install("b", "", Capability(board.task.slots.allocate()))
    with pytest.raises(BadPart, match="is no name"):
        contents.install("", "", board.make(ObjectType.ENDPOINT))
    contents.seal()
    with pytest.raises(Sealed):
        contents.install("b", "", board.make(ObjectType.ENDPOINT))
    with pytest.raises(Sealed):
        contents.set_program(PROGRAM)


def test_an_approval_covers_the_same_object_by_the_same_badge_and_no_more_rights(board: Board) -> None:
    endpoint = board.make(ObjectType.ENDPOINT)
    contents = Contents("builder", PROGRAM)
    contents.install("mail", "", board.minted(endpoint, Rights.WRITE | Rights.GRANT_REPLY, 7))
    approved = {
        "all rights": (board.minted(endpoint, Rights.ALL, 7), True),
        "the same": (board.minted(endpoint, Rights.WRITE | Rights.GRANT_REPLY, 7), True),
        "fewer": (board.minted(endpoint, Rights.WRITE, 7), False),
        "another badge": (board.minted(endpoint, Rights.ALL, 8), False),
        "no badge": (endpoint, False),
        "another object": (board.minted(board.make(ObjectType.ENDPOINT), Rights.ALL, 7), False),
        "nothing": (Capability(board.task.slots.allocate()), False),
    }
    assert {name: contents.covers("mail", each) for name, (each, _) in approved.items()} == {
        name: expected for name, (_, expected) in approved.items()
    }
    with pytest.raises(BadPart, match="there is no part 'post'"):
        contents.covers("post", endpoint)


def test_a_product_holds_what_is_of_its_memory_and_what_was_installed(board: Board) -> None:
    """So what it can reach is its requestor's, or was told of: whoever runs in it."""
    table = board.minted(board.make(ObjectType.FRAME, 12), Rights.READ)
    mail = board.minted(board.make(ObjectType.ENDPOINT), Rights.WRITE, 7)
    contents = Contents("builder", PROGRAM)
    contents.install("table", "", table)
    contents.install("mail", "a.module:Mail", mail)
    pool = board.make(ObjectType.UNTYPED, pool_bits_for(PROGRAM))
    memory, product = board.root.cap(pool.cptr), board.product(contents, pool).state
    made_of = range(memory.object, memory.object + (1 << memory.size_bits))
    installed = [board.root.cap(each.cptr) for each in (table, mail)]

    def foreign() -> dict[int, caps.Cap]:
        """What is not made of the pool."""
        return {slot: cap for slot, cap in board.held(product).items() if cap.object not in made_of}

    parent = foreign()[OwnSlot.PARENT]
    assert (parent.type, parent.object) == (CapType.ENDPOINT, board.root.cap(board.endpoint.cptr).object)
    assert len(encode(product.environment)) <= PIECE_BYTES  # the one answer behind which that is gone
    product.forget_parent()
    first = OwnSlot.FIRST_CONNECTION + 1
    assert foreign() == {first: installed[0], first + 1: installed[1]}
    tcb = Tcb(board.root.machine.ram, board.root.cap(product.tcb.cptr).object)
    inside = {which: caps.read(tcb.slot(which)) for which in TcbSlot}
    assert [which for which, cap in inside.items() if not cap.is_null and cap.object not in made_of] == [
        TcbSlot.FAULT_HANDLER
    ]
    assert product.environment.authorities == {"table": first}
    assert set(product.environment.connections) == {"mail"}


def test_a_pool_that_is_too_small_is_the_requestors_whole(board: Board) -> None:
    pool = board.make(ObjectType.UNTYPED, PROGRAM.memory_bits)
    with pytest.raises(NotEnoughMemory):
        board.product(Contents("builder", PROGRAM), pool)
    slot = board.task.slots.allocate()
    Untyped(pool.cptr).retype(ObjectType.VSPACE, PROGRAM.memory_bits, board.task.cnode, slot)


def test_taking_the_memory_back_ends_the_product(board: Board) -> None:
    pool = board.make(ObjectType.UNTYPED, pool_bits_for(PROGRAM))
    product = board.product(Contents("builder", PROGRAM), pool).state
    product.start()
    assert board.held(product)
    board.task.cnode.revoke(pool.cptr)
    for capability in (product.cnode, product.tcb, product.endpoint):
        assert board.root.cap(capability.cptr).is_null
