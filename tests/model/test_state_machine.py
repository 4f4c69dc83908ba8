"""Random systems: the kernel and the specification carry out the same system calls, and agree on all that can be seen.

Each rule is one kind of system call by one thread. After each, results, errors with their payload, every capability,
who is derived from whom, threads, queues and scheduling contexts are compared, and the kernel's invariants checked.
"""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from libsel4py import abi
from libsel4py.abi import InitialSlot, Label, ObjectType, Rights, Syscall
from tests import harness
from tests.model.capability import Kind
from tests.model.messages import lookup
from tests.model.specification import BLOCKED
from tests.model.system import State, Submission
from tests.model.world import FIRST_OWNED, WINDOW, WINDOW_SLOTS, WORKER_BITS, WORKERS, Worker, World, build

Address = tuple[int, int, int]  # CNode's cptr, index, depth
NODES = FIRST_OWNED + 12


@cache
def world() -> World:
    return build()


def _window(number: int) -> Address:
    return (InitialSlot.CNODE, WINDOW + number, abi.WORD_BITS)


# --- what the manager addresses

windows = st.integers(0, WINDOW_SLOTS - 1).map(_window)
node_slots = st.tuples(
    st.integers(NODES, NODES + len(WORKERS) - 1), st.integers(0, (1 << WORKER_BITS) - 1), st.just(WORKER_BITS)
)
nested = st.tuples(
    st.integers(WINDOW, WINDOW + WINDOW_SLOTS - 1), st.integers(0, 5), st.sampled_from((1, 2, 2, 3, 0, 65, 64))
)
owned = st.integers(FIRST_OWNED, FIRST_OWNED + 18).map(lambda slot: (InitialSlot.CNODE, slot, abi.WORD_BITS))
replies = st.integers(FIRST_OWNED + 32, FIRST_OWNED + 42).map(lambda slot: (InitialSlot.CNODE, slot, abi.WORD_BITS))
wrong = st.tuples(
    st.integers(0, 5), st.sampled_from((0, 130, 1 << 20, abi.WORD_MASK)), st.sampled_from((0, 4, 63, 64, 65))
)
free_slots = st.tuples(st.integers(NODES, NODES + len(WORKERS) - 1), st.integers(10, 14), st.just(WORKER_BITS))
destinations = st.one_of(windows, windows, windows, free_slots, free_slots, nested, wrong)
sources = st.one_of(windows, windows, owned, node_slots, nested, wrong)
# --- what a worker addresses
own_slots = st.tuples(st.just(int(Worker.CNODE)), st.integers(0, 15), st.just(WORKER_BITS))
own_wrong = st.tuples(st.integers(0, 20), st.integers(0, 40), st.integers(0, 66))
own = st.one_of(own_slots, own_slots, own_slots, own_wrong)

rights = st.sampled_from((Rights.ALL, Rights.ALL, Rights.READ, Rights.WRITE, Rights.WRITE | Rights.GRANT, 0, 8, 9))
badges = st.sampled_from((0, 1, 2, 5, abi.cnode_cap_data(1, 1), abi.cnode_cap_data(0, 62), abi.WORD_MASK))
actors = st.integers(0, len(WORKERS) - 1)
ways = st.sampled_from((Worker.ENDPOINT, Worker.ENDPOINT, Worker.OTHER, Worker.OTHER, Worker.SERVER, 10))
places = st.sampled_from((Worker.SERVER, Worker.SERVER, Worker.OTHER_SERVER, Worker.ENDPOINT, Worker.FAULTS, 10))
bells = st.sampled_from((Worker.NOTIFICATION,) * 4 + (10, 11))
reply_slots = st.sampled_from((Worker.REPLY,) * 6 + (10, 99))
pointers = st.one_of(ways, bells, st.integers(0, 17), st.sampled_from((1 << 60, abi.WORD_MASK)))
receive_paths = st.one_of(st.tuples(st.just(int(Worker.CNODE)), st.integers(10, 14), st.just(WORKER_BITS)), own_wrong)
contents = st.tuples(
    st.integers(0, 2),
    st.lists(st.integers(0, 300), max_size=6).map(tuple),
    st.lists(st.integers(0, 16), max_size=3).map(tuple),
    st.booleans(),
)
Contents = tuple[int, tuple[int, ...], tuple[int, ...], bool]
TYPES = st.sampled_from(
    (
        (ObjectType.ENDPOINT, 0),
        (ObjectType.NOTIFICATION, 0),
        (ObjectType.REPLY, 0),
        (ObjectType.TCB, 0),
        (ObjectType.CNODE, 1),
        (ObjectType.CNODE, 2),
        (ObjectType.SCHED_CONTEXT, 8),
        (ObjectType.UNTYPED, 12),
        (ObjectType.UNTYPED, 6),
        (ObjectType.FRAME, 12),
        (ObjectType.VSPACE, 12),
    )
)


class KernelAgainstSpecification(RuleBasedStateMachine):
    """The rules."""

    @initialize(fast_path=st.booleans())
    def begin(self, fast_path: bool) -> None:
        self.world = world()
        self.pair = self.world.origin.begin(fast_path=fast_path)
        self.owned = self.world.owned

    @invariant()
    def sound(self) -> None:
        self.pair.machine.assert_invariants()

    def teardown(self) -> None:
        if hasattr(self, "pair"):
            self.pair.check_descendants()

    # --- who acts

    @property
    def manager(self) -> harness.Thread:
        return self.pair.machine.root

    def able(self, number: int) -> harness.Thread | None:
        """The worker, if it can make a system call now."""
        thread = self.world.workers[number]
        spec = self.pair.system.threads.get(thread.tcb.address)
        if spec is None or not thread.tcb.trap_frame or not self.pair.system.may_run(spec):
            return None
        idle = spec.state is State.RUNNING and spec.submission is None and spec.pending is None
        return thread if idle and spec.started else None

    def act(self, number: int, op: int, **arguments: object) -> None:
        thread = self.able(number)
        if thread is not None:
            self.pair.syscall(thread, Submission(op, **arguments))  # type: ignore[arg-type]

    def manage(self, cptr: int, label: int, words: tuple[int, ...] = (), caps: tuple[int, ...] = ()) -> None:
        """An invocation by the manager, who never waits: what would be a call to somebody is left out."""
        held = self.pair.system.held(lookup(self.pair.system, self.pair.spec_thread(self.manager), cptr))
        if held is None or held.kind is not Kind.ENDPOINT:
            self.pair.invoke(self.manager, cptr, label, words, caps)

    def speak(self, number: int, op: int, content: Contents, **arguments: int) -> None:
        """A system call that sends a message."""
        label, words, caps, inline = content
        info = abi.message_info(label, len(words), len(caps))
        self.act(number, op, info=info, words=words, caps=caps, inline=inline, **arguments)

    # --- capabilities

    @rule(what=TYPES, at=destinations, count=st.sampled_from((1, 1, 2, 4)), memory=st.sampled_from((0, 0, 0, 1, 2)))
    def retype(self, what: tuple[ObjectType, int], at: Address, count: int, memory: int) -> None:
        """Objects of each type, from the pool or from untyped memory made of it."""
        source = self.owned.pool if memory == 0 else WINDOW + memory
        root, index, depth = at
        node = (index, depth) if root != InitialSlot.CNODE or depth != abi.WORD_BITS else (0, 0)
        offset = index if node == (0, 0) else 0
        self.manage(source, Label.UNTYPED_RETYPE, (what[0], what[1], *node, offset, count), (root,))

    @rule(slot=st.integers(0, 3), what=TYPES, count=st.integers(1, 3))
    def retype_into_window(self, slot: int, what: tuple[ObjectType, int], count: int) -> None:
        words = (*what, 0, 0, WINDOW + slot, count)
        self.manage(self.owned.pool, Label.UNTYPED_RETYPE, words, (InitialSlot.CNODE,))

    @rule(words=st.lists(st.one_of(st.integers(0, 70), st.integers(0, abi.WORD_MASK)), min_size=5, max_size=6))
    def retype_wrongly(self, words: list[int]) -> None:
        self.manage(self.owned.pool, Label.UNTYPED_RETYPE, tuple(words), (InitialSlot.CNODE,))

    @rule(to=destinations, source=sources, limit=rights)
    def copy(self, to: Address, source: Address, limit: int) -> None:
        self.manage(to[0], Label.CNODE_COPY, (*to[1:], *source[1:], limit), (source[0],))

    @rule(to=destinations, source=sources, limit=rights, badge=badges)
    def mint(self, to: Address, source: Address, limit: int, badge: int) -> None:
        self.manage(to[0], Label.CNODE_MINT, (*to[1:], *source[1:], limit, badge), (source[0],))

    @rule(to=destinations, source=sources)
    def move(self, to: Address, source: Address) -> None:
        self.manage(to[0], Label.CNODE_MOVE, (*to[1:], *source[1:]), (source[0],))

    @rule(to=destinations, source=sources, badge=badges)
    def mutate(self, to: Address, source: Address, badge: int) -> None:
        self.manage(to[0], Label.CNODE_MUTATE, (*to[1:], *source[1:], badge), (source[0],))

    @rule(to=destinations, pivot=sources, source=sources, data=st.tuples(badges, badges))
    def rotate(self, to: Address, pivot: Address, source: Address, data: tuple[int, int]) -> None:
        words = (*to[1:], data[0], *pivot[1:], data[1], *source[1:])
        self.manage(to[0], Label.CNODE_ROTATE, words, (pivot[0], source[0]))

    @rule(at=st.one_of(windows, windows, windows, sources, replies))
    def revoke(self, at: Address) -> None:
        self.manage(at[0], Label.CNODE_REVOKE, at[1:])

    @rule(at=st.one_of(windows, windows, windows, free_slots, node_slots, nested, wrong, replies))
    def delete(self, at: Address) -> None:
        self.manage(at[0], Label.CNODE_DELETE, at[1:])

    @rule(slots=st.permutations(range(WINDOW_SLOTS)))
    def rotate_in_window(self, slots: list[int]) -> None:
        words = (*_window(slots[0])[1:], 0, *_window(slots[1])[1:], 0, *_window(slots[2 * (slots[3] > 1)])[1:])
        self.manage(InitialSlot.CNODE, Label.CNODE_ROTATE, words, (InitialSlot.CNODE, InitialSlot.CNODE))

    @rule(slot=st.integers(0, WINDOW_SLOTS - 1), bits=st.sampled_from((1, 2)))
    def make_node(self, slot: int, bits: int) -> None:
        words = (ObjectType.CNODE, bits, 0, 0, WINDOW + slot, 1)
        self.manage(self.owned.pool, Label.UNTYPED_RETYPE, words, (InitialSlot.CNODE,))

    @rule(slots=st.permutations(range(WINDOW_SLOTS)), index=st.integers(0, 3), bits=st.sampled_from((1, 2)))
    def nest(self, slots: list[int], index: int, bits: int) -> None:
        """A capability of the window goes into a CNode of the window."""
        words = (index, bits, *_window(slots[0])[1:])
        self.manage(WINDOW + slots[1], Label.CNODE_MOVE, words, (InitialSlot.CNODE,))

    @rule(at=owned)
    def delete_object(self, at: Address) -> None:
        self.manage(at[0], Label.CNODE_DELETE, at[1:])

    @rule(at=sources)
    def cancel_badged_sends(self, at: Address) -> None:
        self.manage(at[0], Label.CNODE_CANCEL_BADGED_SENDS, at[1:])

    @rule(number=actors, to=own, source=own, limit=rights, badge=badges, label=st.integers(18, 25))
    def worker_changes_its_node(
        self, number: int, to: Address, source: Address, limit: int, badge: int, label: int
    ) -> None:
        words = (*to[1:], *source[1:], limit, badge, *source[1:])
        info = abi.message_info(label, len(words), 2)
        self.act(number, Syscall.CALL, cptr=to[0], info=info, words=words, caps=(source[0], to[0]))

    # --- threads and time

    @rule(number=actors, priority=st.integers(95, 125), authority=st.sampled_from((0, 1, 3)))
    def set_priority(self, number: int, priority: int, authority: int) -> None:
        tcb = self.owned.tcbs[authority] if authority < len(WORKERS) else InitialSlot.TCB
        self.manage(self.owned.tcbs[number], Label.TCB_SET_PRIORITY, (priority,), (tcb,))

    @rule(number=actors, most=st.integers(95, 260))
    def set_mc_priority(self, number: int, most: int) -> None:
        self.manage(self.owned.tcbs[number], Label.TCB_SET_MC_PRIORITY, (most,), (InitialSlot.TCB,))

    @rule(number=actors)
    def rouse(self, number: int) -> None:
        """Whatever a worker was at, it has time and goes on."""
        tcb, context = self.owned.tcbs[number], self.owned.contexts[number]
        self.manage(context, Label.SCHED_CONTEXT_UNBIND)
        self.manage(context, Label.SCHED_CONTEXT_BIND, (), (tcb,))
        self.manage(tcb, Label.TCB_RESUME)

    @rule(number=actors, context=st.sampled_from((0, 64, 80, 81, 82)), handler=st.sampled_from((0, 64, 66, 68, 96)))
    def set_sched_params(self, number: int, context: int, handler: int) -> None:
        caps = (InitialSlot.TCB, context, handler)
        self.manage(self.owned.tcbs[number], Label.TCB_SET_SCHED_PARAMS, (130, 101), caps)

    @rule(number=actors, second=st.booleans())
    def bind_notification(self, number: int, second: bool) -> None:
        bell = self.owned.second_notification if second else self.owned.notification
        self.manage(self.owned.tcbs[number], Label.TCB_BIND_NOTIFICATION, (), (bell,))

    @rule(number=actors)
    def unbind_notification(self, number: int) -> None:
        self.manage(self.owned.tcbs[number], Label.TCB_UNBIND_NOTIFICATION)

    @rule(context=st.integers(0, 4), to=st.sampled_from((67, 68, 72, 73, 74, 75, 64)))
    def context_bind(self, context: int, to: int) -> None:
        self.manage(self.context(context), Label.SCHED_CONTEXT_BIND, (), (to,))

    @rule(context=st.integers(0, 4))
    def context_unbind(self, context: int) -> None:
        self.manage(self.context(context), Label.SCHED_CONTEXT_UNBIND)

    @rule(context=st.integers(0, 4), what=st.sampled_from((67, 68, 72, 73, 74, 64)))
    def context_unbind_object(self, context: int, what: int) -> None:
        self.manage(self.context(context), Label.SCHED_CONTEXT_UNBIND_OBJECT, (), (what,))

    @rule(context=st.integers(0, 4), yields=st.booleans())
    def context_consumed(self, context: int, yields: bool) -> None:
        label = Label.SCHED_CONTEXT_YIELD_TO if yields else Label.SCHED_CONTEXT_CONSUMED
        self.manage(self.context(context), label)

    @rule(context=st.integers(0, 4), words=st.tuples(st.sampled_from((0, 20, 500, 1 << 41)), st.integers(19, 501)))
    def context_configure(self, context: int, words: tuple[int, int]) -> None:
        caps = (self.context(context),)
        self.manage(InitialSlot.FIRST_FREE, Label.SCHED_CONTROL_CONFIGURE_FLAGS, (*words, 0, 0, 0), caps)

    def context(self, number: int) -> int:
        return (*self.owned.contexts, self.owned.context)[number]

    @rule(number=actors)
    def suspend(self, number: int) -> None:
        self.manage(self.owned.tcbs[number], Label.TCB_SUSPEND)

    @rule(number=actors)
    def resume(self, number: int) -> None:
        self.manage(self.owned.tcbs[number], Label.TCB_RESUME)

    @rule(number=actors, label=st.sampled_from((Label.TCB_SUSPEND, Label.TCB_RESUME, Label.TCB_UNBIND_NOTIFICATION)))
    def worker_invokes_another(self, number: int, label: Label) -> None:
        self.act(number, Syscall.CALL, cptr=Worker.TCB, info=abi.message_info(label))

    @rule(number=actors, label=st.sampled_from((Label.SCHED_CONTEXT_UNBIND, Label.SCHED_CONTEXT_BIND)))
    def worker_changes_a_context(self, number: int, label: Label) -> None:
        info = abi.message_info(label, 0, 1)
        self.act(number, Syscall.CALL, cptr=Worker.SCHED_CONTEXT, info=info, caps=(int(Worker.TCB),))

    # --- messages

    @rule(number=actors, to=ways, content=contents)
    def send(self, number: int, to: int, content: Contents) -> None:
        self.speak(number, Syscall.SEND, content, cptr=to)

    @rule(number=actors, to=pointers, content=contents)
    def nb_send(self, number: int, to: int, content: Contents) -> None:
        self.speak(number, Syscall.NB_SEND, content, cptr=to)

    @rule(number=actors, to=ways, content=contents)
    def call(self, number: int, to: int, content: Contents) -> None:
        self.speak(number, Syscall.CALL, content, cptr=to)

    @rule(number=actors, at=places, reply=reply_slots, path=receive_paths)
    def recv(self, number: int, at: int, reply: int, path: Address) -> None:
        self.act(number, Syscall.RECV, cptr=at, reply=reply, receive_path=path)

    @rule(number=actors, path=receive_paths, other=st.booleans())
    def serve(self, number: int, path: Address, other: bool) -> None:
        """The receive that mostly works."""
        place = Worker.OTHER_SERVER if other else Worker.SERVER
        self.act(number, Syscall.RECV, cptr=place, reply=Worker.REPLY, receive_path=path)

    @rule(number=actors, other=st.booleans(), words=st.lists(st.integers(0, 9), max_size=5).map(tuple))
    def ask(self, number: int, other: bool, words: tuple[int, ...]) -> None:
        """The call that mostly works."""
        self.speak(number, Syscall.CALL, (1, words, (), False), cptr=Worker.OTHER if other else Worker.ENDPOINT)

    @rule(number=actors, other=st.booleans(), words=st.lists(st.integers(0, 9), max_size=5).map(tuple))
    def answer(self, number: int, other: bool, words: tuple[int, ...]) -> None:
        place = Worker.OTHER_SERVER if other else Worker.SERVER
        self.speak(number, Syscall.REPLY_RECV, (1, words, (), False), cptr=place, reply=Worker.REPLY)

    @rule(number=actors, at=places, reply=reply_slots, path=receive_paths)
    def nb_recv(self, number: int, at: int, reply: int, path: Address) -> None:
        self.act(number, Syscall.NB_RECV, cptr=at, reply=reply, receive_path=path)

    @rule(number=actors, content=contents)
    def reply(self, number: int, content: Contents) -> None:
        self.speak(number, Syscall.SEND, content, cptr=Worker.REPLY)

    @rule(number=actors, at=places, content=contents, reply=reply_slots)
    def reply_recv(self, number: int, at: int, content: Contents, reply: int) -> None:
        self.speak(number, Syscall.REPLY_RECV, content, cptr=at, reply=reply)

    @rule(number=actors, to=pointers, at=places, content=contents)
    def nb_send_recv(self, number: int, to: int, at: int, content: Contents) -> None:
        self.speak(number, Syscall.NB_SEND_RECV, content, cptr=at, dest=to, reply=Worker.REPLY)

    @rule(number=actors, to=pointers, at=st.one_of(places, bells), content=contents)
    def nb_send_wait(self, number: int, to: int, at: int, content: Contents) -> None:
        self.speak(number, Syscall.NB_SEND_WAIT, content, cptr=at, dest=to)

    @rule(number=actors, to=bells, op=st.sampled_from((Syscall.SEND, Syscall.NB_SEND, Syscall.CALL)))
    def signal(self, number: int, to: int, op: Syscall) -> None:
        self.act(number, op, cptr=to)

    @rule(badge=st.sampled_from((0, 1, 2)))
    def manager_signals(self, badge: int) -> None:
        bells = (self.owned.notification, self.owned.second_notification, self.owned.notification)
        self.pair.syscall(self.manager, Submission(Syscall.NB_SEND, bells[badge]))

    @rule(number=actors, at=st.one_of(bells, places))
    def wait(self, number: int, at: int) -> None:
        self.act(number, Syscall.WAIT, cptr=at)

    @rule(number=actors, at=st.one_of(bells, places))
    def poll(self, number: int, at: int) -> None:
        self.act(number, Syscall.NB_WAIT, cptr=at)

    @rule(number=actors, to=pointers, content=contents, op=st.sampled_from((Syscall.CALL, Syscall.SEND)))
    def send_anywhere(self, number: int, to: int, content: Contents, op: Syscall) -> None:
        self.speak(number, op, content, cptr=to)

    # --- faults and the rest

    @rule(number=actors, op=st.sampled_from((-12, -31, 0, 7, 1 - (1 << 31))))
    def unknown_syscall(self, number: int, op: int) -> None:
        self.act(number, op, cptr=3, words=(1, 2, 3, 4), reply=5, dest=6)

    @rule(number=actors, op=st.sampled_from((Syscall.CALL, Syscall.SEND, Syscall.RECV, Syscall.WAIT)))
    def address_fault(self, number: int, op: Syscall) -> None:
        self.act(number, op, cptr=1 << 40)

    @rule(number=actors)
    def take_fault(self, number: int) -> None:
        self.act(number, Syscall.NB_RECV, cptr=Worker.FAULTS, reply=Worker.REPLY)

    @rule(number=actors)
    def handle_faults(self, number: int) -> None:
        self.act(number, Syscall.RECV, cptr=Worker.FAULTS, reply=Worker.REPLY)

    @rule(number=actors, label=st.sampled_from((0, 0, 1)), words=st.lists(st.integers(0, 9), max_size=6))
    def answer_fault(self, number: int, label: int, words: list[int]) -> None:
        content = (label, tuple(words), (), False)
        self.speak(number, Syscall.REPLY_RECV, content, cptr=Worker.FAULTS, reply=Worker.REPLY)

    @rule(number=actors, status=st.integers(0, 300))
    def leave(self, number: int, status: int) -> None:
        self.act(number, Syscall.EXIT, words=(status,))

    @rule(number=actors)
    def give_way(self, number: int) -> None:
        self.act(number, Syscall.YIELD)

    @rule(number=actors)
    def cancel(self, number: int) -> None:
        """A worker that waits, and has processor time, ends its own system call."""
        thread = self.world.workers[number]
        spec = self.pair.system.threads.get(thread.tcb.address)
        if spec is None or spec.submission is None or spec.fault is not None or spec.state not in BLOCKED:
            return
        if spec.context is not None and self.pair.system.contexts[spec.context].configured:
            self.pair.cancel(thread)


def test_kernel_agrees_with_the_specification() -> None:
    run_state_machine_as_test(KernelAgainstSpecification, settings=settings.get_profile("default"))


@pytest.mark.slow
def test_kernel_agrees_with_the_specification_at_length() -> None:
    run_state_machine_as_test(KernelAgainstSpecification, settings=settings.get_profile("slow"))


def test_there_are_rules_for_everything() -> None:
    rules = KernelAgainstSpecification().rules
    assert len(rules) >= 40, "each kind of system call and invocation has a rule"
