"""Random systems: the kernel and the specification carry out the same system calls, and agree on all that can be seen.

Each rule is one kind of system call by one thread. After each, results, errors with their payload, every capability,
who is derived from whom, threads, queues and scheduling contexts are compared, and the kernel's invariants checked.
"""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import rule, run_state_machine_as_test

from libsel4py import abi
from libsel4py.abi import InitialSlot, Label, ObjectType, PageFault, Syscall
from tests.model.actors import world
from tests.model.capability_rules import CapabilityRules
from tests.model.channel_rules import ChannelRules
from tests.model.mapping_rules import FREE, MappingRules
from tests.model.notice_rules import NoticeRules
from tests.model.specification import BLOCKED
from tests.model.strategies import (
    Address,
    Contents,
    actors,
    bells,
    contents,
    places,
    pointers,
    receive_paths,
    reply_slots,
    ways,
)
from tests.model.system import Submission
from tests.model.thread_rules import ThreadRules
from tests.model.world import PASSIVE, WINDOW, WORKERS, Worker

kinds = st.sampled_from(
    (0, PageFault.WRITE, PageFault.FETCH, PageFault.GUARDED, PageFault.GUARDED | PageFault.WRITE, 8)
)


class KernelAgainstSpecification(CapabilityRules, ThreadRules, ChannelRules, MappingRules, NoticeRules):
    """All rules: those of messages stand here."""

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

    @rule(number=actors, words=st.lists(st.integers(0, 9), max_size=5).map(tuple))
    def answer(self, number: int, words: tuple[int, ...]) -> None:
        """By one of the passive servers if it has a call, and so the caller's time."""
        serving = dict(zip(map(WORKERS.index, PASSIVE), (Worker.SERVER, Worker.OTHER_SERVER), strict=True))
        number = next((each for each in serving if self.able(each) is not None), number)
        place = serving.get(number, Worker.SERVER)
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

    @rule(
        number=actors, address=st.one_of(st.integers(0, 8).map(lambda page: FREE + page * 2048), st.just(1)), kind=kinds
    )
    def touch(self, number: int, address: int, kind: int) -> None:
        """Memory that is mapped for it, or not."""
        self.act(number, Syscall.FAULT, words=(address, 7, kind))

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
        if spec.context is not None and self.pair.system.contexts[spec.context].has_time:
            self.pair.cancel(thread)


def test_kernel_agrees_with_the_specification() -> None:
    run_state_machine_as_test(KernelAgainstSpecification, settings=settings.get_profile("default"))


@pytest.mark.slow
def test_kernel_agrees_with_the_specification_at_length() -> None:
    run_state_machine_as_test(KernelAgainstSpecification, settings=settings.get_profile("slow"))


def test_there_are_rules_for_everything() -> None:
    rules = KernelAgainstSpecification().rules
    assert len(rules) >= 40, "each kind of system call and invocation has a rule"


@pytest.mark.parametrize("what", list(ObjectType))
def test_retype_takes_the_sizes_that_it_should(what: ObjectType) -> None:
    """Every size_bits at the edges: types of one size take no notice of it."""
    pair = world().origin.begin()
    for bits in (0, 1, 3, 4, 6, 7, 11, 12, 30, 31, 34, 35, 38, 39, 40, 63, 64, abi.WORD_MASK):
        words = (what, bits, 0, 0, WINDOW, 1)
        answer = pair.invoke(pair.machine.root, world().owned.pool, Label.UNTYPED_RETYPE, words, [InitialSlot.CNODE])
        if answer is not None and answer[0] == abi.Error.NO_ERROR:
            pair.must(pair.machine.root, InitialSlot.CNODE, Label.CNODE_DELETE, (WINDOW, abi.WORD_BITS))
