"""FAULT: memory that is not there. What is tried again, what the handler is told, and what its reply does."""

import pytest

from kerneld import explain
from kerneld.outbox import Tell
from kerneld.records import ProcessState, TcbSlot, ThreadState
from libsel4py import abi
from libsel4py.abi import FaultLabel, InitialSlot, Label, PageFault, Rights, Syscall
from tests.harness import OWN_REPLY, THREAD_CNODE_BITS, Completion, Thread, TwinKernel, take_fast_after_each_store
from tests.mapping_scene import PAGE, READ_WRITE, MappingScene

from .scene import ENDPOINT, Scene, message, receive, reply, reply_receive

BASE = abi.MAPPING_BASE + (1 << 30)
IP = 0x7F00_1234
NONE = PageFault.NONE
PRESENT, WRITE, USER, FETCH, GUARDED = PageFault
RETRY = (0, 0, 0, 0)
NOBODY = (1, 0, 0, 0)


class Pager:
    """A thread whose memory faults a handler is told of, with badge 5. All threads have the initial task's VSpace."""

    def __init__(self, handled: bool = True, waits: bool = True) -> None:
        self.scene = Scene()
        self.machine = self.scene.machine
        self.memory = MappingScene(self.machine)
        badged = self.machine.copy(self.scene.endpoint, badge=5) if handled else 0
        self.handler = self.scene.thread("pager")
        self.thread = self.scene.thread("thread", fault_endpoint=badged)
        if waits and handled:
            assert receive(self.handler) is None

    def map(self, address: int = BASE, rights: int = READ_WRITE) -> int:
        frame = self.memory.frame()
        assert self.memory.map(frame, address, rights, space=InitialSlot.VSPACE)[0] == 0
        return frame

    def fault(self, address: int = BASE, kind: int = NONE) -> Completion | None:
        return self.thread.syscall(Syscall.FAULT, words=(address, IP, kind))

    def told(self) -> tuple[int, ...]:
        """The words of the fault message that the handler has got."""
        badge, label, words = message(self.handler.completion())
        assert (badge, label) == (5, FaultLabel.VM_FAULT)
        assert self.thread.state is ThreadState.BLOCKED_ON_REPLY
        return words


def registers(done: Completion | None) -> tuple[int, ...]:
    assert done is not None
    assert (done.status, done.badge, done.info) == (abi.Status.DONE, 0, 0)
    return done.registers


# --- what is tried again


@pytest.mark.parametrize(
    ("rights", "kind", "allowed"),
    [
        (READ_WRITE, NONE, True),
        (READ_WRITE, WRITE, True),
        (READ_WRITE, WRITE | GUARDED, True),
        (Rights.READ, NONE, True),
        (Rights.READ, WRITE, False),
        (Rights.READ, FETCH, False),
        (READ_WRITE, FETCH, False),
        (Rights.WRITE, NONE, False),
        (Rights.WRITE, WRITE, False),
        (0, NONE, False),
    ],
)
def test_what_is_mapped_so_is_tried_again(rights: int, kind: PageFault, allowed: bool) -> None:
    case = Pager()
    case.map(rights=rights)
    done = case.fault(BASE + PAGE - 1, kind)
    if allowed:
        assert registers(done) == RETRY
        assert case.thread.state is ThreadState.RUNNING
    else:
        assert done is None
        fetch = int(FETCH in kind)
        assert case.told() == (IP, BASE + PAGE - 1, fetch, kind | PRESENT | USER)


def test_without_an_address_space_nothing_is_mapped() -> None:
    case = Pager()
    with case.machine.ram.transaction():
        case.thread.tcb.slot(TcbSlot.VSPACE).word0 = 0
    case.machine.check = False
    assert case.fault() is None
    assert case.told() == (IP, BASE, 0, USER)


# --- what the handler is told, and what its reply does


@pytest.mark.parametrize("address", [0, BASE - 1, BASE + PAGE, abi.MAPPING_END, (1 << 64) - 1])
def test_an_address_where_nothing_is_mapped_is_told(address: int) -> None:
    case = Pager()
    case.map()
    assert case.fault(address, WRITE) is None
    assert case.told() == (IP, address, 0, WRITE | USER)


def test_the_task_s_word_says_no_more_than_it_can_know() -> None:
    case = Pager()
    assert case.fault(kind=(1 << 64) - 1) is None
    assert case.told() == (IP, BASE, 1, WRITE | FETCH | USER | GUARDED)


def test_a_handler_maps_and_replies() -> None:
    case = Pager()
    case.fault()
    case.told()
    case.map()
    assert reply_receive(case.handler) is None
    assert registers(case.thread.completion()) == RETRY
    assert (case.thread.state, case.thread.tcb.fault_label) == (ThreadState.RUNNING, 0)
    assert case.thread.syscall(Syscall.YIELD) is not None


def test_a_reply_without_a_mapping_tries_again_too() -> None:
    """The handler may have mapped by other means, or been told of what has come meanwhile: the instruction decides."""
    case = Pager()
    case.fault()
    case.told()
    reply_receive(case.handler)
    assert registers(case.thread.completion()) == RETRY
    assert case.fault() is None
    assert case.told() == (IP, BASE, 0, USER)


def test_the_words_of_a_reply_are_written_nowhere() -> None:
    case = Pager()
    with case.machine.ram.transaction():
        case.thread.tcb.rip = 77
    case.fault()
    case.told()
    reply_receive(case.handler, (1, 2, 3, 4))
    assert registers(case.thread.completion()) == RETRY
    assert case.thread.tcb.rip == 77


def test_a_reply_with_a_label_stops_the_thread_until_it_is_resumed() -> None:
    case = Pager()
    case.fault()
    case.told()
    assert reply_receive(case.handler, label=3) is None
    assert (case.thread.state, case.thread.completion()) == (ThreadState.INACTIVE, None)
    case.scene.resume(case.thread)
    assert case.told() == (IP, BASE, 0, USER)
    case.map()
    reply_receive(case.handler)
    assert registers(case.thread.completion()) == RETRY


def test_without_a_handler_the_thread_stops_and_a_resume_looks_again() -> None:
    case = Pager(handled=False)
    assert case.fault() is None
    assert case.thread.state is ThreadState.INACTIVE
    case.scene.resume(case.thread)
    assert case.thread.state is ThreadState.INACTIVE
    case.map()
    case.scene.resume(case.thread)
    assert registers(case.thread.completion()) == RETRY
    assert case.thread.state is ThreadState.RUNNING


# --- guarded accesses


def test_a_guarded_access_without_a_handler_fails() -> None:
    case = Pager(handled=False)
    assert registers(case.fault(kind=GUARDED)) == NOBODY
    assert (case.thread.state, case.thread.tcb.fault_label) == (ThreadState.RUNNING, 0)
    assert case.thread.syscall(Syscall.YIELD) is not None


def test_a_guarded_access_is_told_and_a_reply_with_a_label_fails_it() -> None:
    case = Pager()
    assert case.fault(kind=GUARDED | WRITE) is None
    assert case.told() == (IP, BASE, 0, USER | WRITE | GUARDED)
    assert reply_receive(case.handler, label=1) is None
    assert registers(case.thread.completion()) == NOBODY
    assert case.thread.state is ThreadState.RUNNING
    assert case.fault(kind=GUARDED) is None
    case.told()
    reply_receive(case.handler)
    assert registers(case.thread.completion()) == RETRY


def test_a_guarded_access_fails_when_its_handler_s_endpoint_goes() -> None:
    case = Pager(waits=False)
    assert case.fault(kind=GUARDED) is None
    assert case.thread.state is ThreadState.BLOCKED_ON_SEND
    root = InitialSlot.CNODE
    case.machine.root.call(root, Label.CNODE_REVOKE, (case.scene.endpoint, abi.WORD_BITS))
    case.machine.root.call(root, Label.CNODE_DELETE, (case.scene.endpoint, abi.WORD_BITS))
    assert registers(case.thread.completion()) == NOBODY
    assert case.thread.syscall(Syscall.YIELD) is not None


def test_a_guarded_access_fails_when_the_reply_object_goes() -> None:
    case = Pager()
    assert case.fault(kind=GUARDED) is None
    case.told()
    machine, reply = case.machine, case.thread.tcb.reply
    assert reply is not None
    machine.root.call(case.handler.cnode, Label.CNODE_DELETE, (OWN_REPLY, THREAD_CNODE_BITS))
    machine.delete(next(slot for slot in range(machine.next_slot) if machine.slot(slot).object == reply.address))
    assert registers(case.thread.completion()) == NOBODY


def test_a_guarded_access_fails_where_no_reply_can_come() -> None:
    case = Pager(waits=False)
    assert case.handler.syscall(Syscall.WAIT, ENDPOINT) is None
    assert registers(case.fault(kind=GUARDED)) == NOBODY
    assert message(case.handler.completion())[1] == FaultLabel.VM_FAULT
    assert case.fault(kind=GUARDED) is None
    assert case.handler.syscall(Syscall.WAIT, ENDPOINT) is not None
    assert registers(case.thread.completion()) == NOBODY


# --- by the fast path


def test_a_fault_and_its_answer_are_the_fast_path_s() -> None:
    case = Pager()
    for number in range(7):  # below, between and above what is mapped already
        case.map(BASE + (number * 5 % 7) * 4 * PAGE)
        before = TwinKernel.fast_takes
        assert case.fault(BASE + number * 4 * PAGE + 2 * PAGE, WRITE) is None
        assert case.told() == (IP, BASE + number * 4 * PAGE + 2 * PAGE, 0, WRITE | USER)
        assert reply_receive(case.handler) is None
        assert registers(case.thread.completion()) == RETRY
        assert TwinKernel.fast_takes == before + 2


def test_a_fault_where_something_is_mapped_is_slow() -> None:
    case = Pager()
    case.map(rights=Rights.READ)
    before = TwinKernel.fast_takes
    case.fault(BASE + PAGE - 1, WRITE)
    assert case.told() == (IP, BASE + PAGE - 1, 0, PRESENT | WRITE | USER)
    assert TwinKernel.fast_takes == before
    case.fault(BASE + PAGE, WRITE)


def test_an_answer_that_stops_the_thread_is_slow_and_says_why() -> None:
    case = Pager()
    core = case.machine.kernel.core
    assert case.fault(kind=WRITE) is None
    case.told()
    core.diagnostics.refusals.clear()  # the fast path alone leaves none, and here the slow path came behind it
    before = TwinKernel.fast_takes
    reply_receive(case.handler, label=1)
    assert TwinKernel.fast_takes == before
    text = f"it wrote to address 0x{BASE:x}, where nothing is mapped, at instruction 0x{IP:x}"
    assert f"The thread faulted (VM_FAULT): {text}" in why(case, case.thread)


def test_a_fault_that_is_suspended_says_why() -> None:
    case = Pager()
    case.fault()
    case.told()
    case.machine.kernel.core.diagnostics.refusals.clear()
    case.scene.suspend(case.thread)
    assert f"it read from address 0x{BASE:x}, where nothing is mapped" in why(case, case.thread)


@pytest.mark.parametrize("answered", [False, True])
def test_every_store_of_a_fast_fault_can_be_interrupted(answered: bool) -> None:
    case = Pager()
    machine = case.machine
    if answered:
        case.fault()
        case.told()
        case.handler.submit(Syscall.REPLY_RECV, ENDPOINT, reply=OWN_REPLY)
    else:
        case.thread.submit(Syscall.FAULT, words=(BASE, IP, NONE))
    tcb = (case.handler if answered else case.thread).tcb
    assert take_fast_after_each_store(machine, tcb) > 15
    if answered:
        assert registers(case.thread.completion()) == RETRY
    else:
        case.told()


# --- stops and ends


@pytest.mark.parametrize("kind", [NONE, GUARDED])
def test_a_thread_is_suspended_during_a_fault_and_resumed(kind: PageFault) -> None:
    case = Pager()
    case.fault(kind=kind)
    case.told()
    case.scene.suspend(case.thread)
    assert case.thread.state is ThreadState.INACTIVE
    reply(case.handler)  # goes nowhere
    assert (case.thread.state, case.thread.completion()) == (ThreadState.INACTIVE, None)
    assert receive(case.handler) is None
    case.scene.resume(case.thread)
    assert case.told() == (IP, BASE, 0, kind | USER)
    case.map()
    reply_receive(case.handler)
    assert registers(case.thread.completion()) == RETRY


def test_a_thread_that_is_resumed_while_it_waits_looks_again() -> None:
    case = Pager(waits=False)
    case.fault()
    assert case.thread.state is ThreadState.BLOCKED_ON_SEND
    case.map()
    case.scene.resume(case.thread)
    assert registers(case.thread.completion()) == RETRY
    assert (
        case.handler.syscall(Syscall.NB_RECV, ENDPOINT, reply=OWN_REPLY) is not None
    )  # and nothing is left to receive


def test_a_fault_cannot_be_cancelled() -> None:
    case = Pager()
    case.fault()
    case.told()
    assert case.thread.syscall(Syscall.CANCEL) is None
    case.map()
    reply_receive(case.handler)
    assert registers(case.thread.completion()) == RETRY
    assert case.thread.completion() is not None  # CANCEL, behind it


def test_a_process_that_ends_during_a_fault() -> None:
    case = Pager()
    case.fault()
    case.told()
    assert receive(case.handler) is None
    case.machine.died(case.thread, 9)
    badge, label, _ = message(case.handler.completion())
    assert (badge, label) == (5, FaultLabel.USER_EXCEPTION)
    assert case.thread.tcb.process == ProcessState.NONE


def test_a_thread_that_is_deleted_during_a_fault() -> None:
    case = Pager()
    case.fault()
    case.told()
    case.machine.revoke(case.thread.cap)
    case.machine.delete(case.thread.cap)
    assert case.machine.told(Tell.KILL)
    assert reply_receive(case.handler) is None


def test_a_passive_handler_runs_on_the_thread_s_context() -> None:
    case = Pager()
    context = case.thread.tcb.sched_context
    case.machine.root.call(case.handler.sched_context, Label.SCHED_CONTEXT_UNBIND)
    case.fault()
    assert case.handler.tcb.sched_context == context
    case.told()
    reply_receive(case.handler)
    assert (case.thread.tcb.sched_context, case.handler.tcb.sched_context) == (context, None)


def test_faults_of_several_threads_wait_at_the_handler() -> None:
    case = Pager(waits=False)
    others = [
        case.scene.thread(f"other {number}", fault_endpoint=case.scene.endpoint, priority=200 - number)
        for number in range(3)
    ]
    for number, other in enumerate(others):
        assert other.syscall(Syscall.FAULT, words=(BASE + number * PAGE, IP, NONE)) is None
    first = receive(case.handler)
    told = [
        message(first)[2][1],
        message(reply_receive(case.handler))[2][1],
        message(reply_receive(case.handler))[2][1],
    ]
    assert told == [BASE, BASE + PAGE, BASE + 2 * PAGE]
    reply(case.handler)
    for other in others:
        assert registers(other.completion()) == RETRY


# --- what people are told


def why(case: Pager, thread: Thread) -> str:
    return explain.why(case.machine.kernel.core, thread.tcb)


def test_it_is_explained() -> None:
    case = Pager()
    case.fault(kind=WRITE)
    case.told()
    assert f"has faulted (VM_FAULT at address 0x{BASE:x}) and waits for the reply" in why(case, case.thread)
    reply_receive(case.handler, label=1)
    text = f"it wrote to address 0x{BASE:x}, where nothing is mapped, at instruction 0x{IP:x}"
    assert f"The thread faulted (VM_FAULT): {text}" in why(case, case.thread)


@pytest.mark.parametrize(
    ("rights", "kind", "text"),
    [
        (Rights.READ, WRITE, "wrote to address 0x100040000000, where what is mapped gives Read, at"),
        (READ_WRITE, FETCH, "ran into address 0x100040000000, where what is mapped gives Read+Write, at"),
        (0, NONE, "read from address 0x100040000000, where what is mapped gives no access, at"),
    ],
)
def test_what_is_mapped_is_explained(rights: int, kind: PageFault, text: str) -> None:
    case = Pager(handled=False)
    case.map(rights=rights)
    case.fault(kind=kind)
    explained = explain.last_refusal(case.machine.kernel.core, case.thread.tcb)
    assert text in explained
    assert "no fault endpoint" in explained
