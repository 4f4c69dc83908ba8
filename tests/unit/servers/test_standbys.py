"""A process that stands by, on the pure kernel: what it holds, and what is the task's when it takes over."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from kerneld import caps
from kerneld.outbox import Outbox, Tell
from kerneld.records import CapType, ProcessState, Slot, Tcb, TcbSlot
from libsel4py.abi import FaultLabel, Label, LookupFailureKind, ObjectType, Syscall
from libsel4py.capabilities import Endpoint, Reply
from libsel4py.description import Provide, Restart
from libsel4py.environment import Slot as Fixed
from libsel4py.interfaces.lifecycle import FOREVER
from libsel4py.lowlevel.syscalls import BatchEntry, Completion, machine
from servers.root.objects import ROOM_BITS, Body
from servers.root.running_task import Kind, Life, Sender, Standby
from servers.root.standbys import MAKE_SECONDS, MOST_ENDS
from tests.harness import Thread
from tests.unit.servers.root_board import PING, Root, root, task

SIGKILLED = 9
IT = task("it", provides=(Provide("it", PING),), restart=Restart.ALWAYS, threads=1, standby=True)


@pytest.fixture
def board() -> Iterator[Root]:
    with root(IT) as made:
        made.supervisor.start_all()
        made.lives.standbys.make_all()
        yield made


def tcb_of(board: Root, body: Body | None, thread: int = 0) -> Tcb:
    assert body is not None
    return Tcb(board.machine.ram, board.cap(body.threads[thread].tcb.cptr).object)


def cspace_of(board: Root, body: Body | None) -> int:
    return tcb_of(board, body).slot(TcbSlot.CSPACE).object


def test_it_holds_what_it_asks_and_waits_by_and_nothing_of_the_tasks(board: Root) -> None:
    objects = board.running("it").objects
    room = cspace_of(board, objects.spare)
    slots = {slot: caps.read(Slot(board.machine.ram, room + slot * Slot.SIZE)) for slot in range(1 << ROOM_BITS)}
    held = {slot: cap for slot, cap in slots.items() if not cap.is_null}
    assert {slot: cap.type for slot, cap in held.items()} == {
        Fixed.PARENT: CapType.ENDPOINT,
        Fixed.TAKEOVER: CapType.NOTIFICATION,
    }
    assert Sender.of(held[Fixed.PARENT].badge).kind is Kind.STANDBY
    assert room != board.cap(objects.cnode.cptr).object
    assert tcb_of(board, objects.spare, 1).process == ProcessState.NONE  # its further threads are started later
    assert tcb_of(board, objects.spare).name == "it.standby"


def test_it_takes_over_with_all_that_is_the_tasks(board: Root) -> None:
    running = board.running("it")
    before, chosen = running.objects.body, running.objects.spare
    assert chosen is not None
    board.machine.tells.clear()
    board.ended("it", SIGKILLED)
    assert (running.objects.body, running.objects.spare) == (chosen, before)
    assert (running.life, running.restarts, running.standby) == (Life.RUNNING, 1, Standby.NONE)
    main = tcb_of(board, chosen)
    assert (main.name, cspace_of(board, chosen)) == ("it", board.cap(running.objects.cnode.cptr).object)
    assert main.bound_notification is not None
    held = board.held("it")
    own = {
        Fixed.TCB: chosen.threads[0].tcb.cptr,
        Fixed.SCHED_CONTEXT: chosen.threads[0].sched_context.cptr,
        Fixed.VSPACE: chosen.vspace.cptr,
    }
    assert {slot: held[slot].object for slot in own} == {slot: board.cap(cptr).object for slot, cptr in own.items()}
    assert [message.subject for message in board.machine.told(Tell.START)] == [tcb_of(board, chosen, 1).address]
    assert set(held) == set(running.capabilities)


def test_the_next_one_stands_by_in_the_place_of_the_former(board: Root) -> None:
    running = board.running("it")
    for _ in range(3):
        board.ended("it", SIGKILLED)
        board.lives.standbys.make_all()
        assert running.standby is Standby.READY
        assert tcb_of(board, running.objects.spare).name == "it.standby"
    assert running.restarts == 3


def test_the_next_one_is_made_in_time_and_not_while_clients_wait_for_the_new_life(board: Root) -> None:
    running, alarm = board.running("it"), board.supervisor.alarm
    assert alarm is not None
    assert alarm.due() == FOREVER
    began = board.clock.now
    board.ended("it", SIGKILLED)
    assert alarm.due() == began + MAKE_SECONDS
    board.clock.now += MAKE_SECONDS / 2
    board.ended("it", SIGKILLED)  # another end puts it off no further
    assert alarm.due() == began + MAKE_SECONDS
    alarm.ring()
    assert running.standby is Standby.NONE
    board.clock.now = alarm.due()
    alarm.ring()
    assert running.standby is Standby.READY
    assert alarm.due() == FOREVER


def test_without_one_it_is_started(board: Root) -> None:
    board.ended("it", SIGKILLED)
    board.ended("it", SIGKILLED)
    assert board.running("it").restarts == 2
    assert board.has_started("it")


def test_one_that_has_ended_unseen_does_not_take_over(board: Root) -> None:
    """It had ended before it could, and nobody had looked at that message yet."""
    running = board.running("it")
    dead = tcb_of(board, running.objects.spare)
    board.machine.kernel.died(dead, SIGKILLED)
    board.machine.run()
    board.machine.tells.clear()
    board.ended("it", SIGKILLED)
    started = [message.subject for message in board.machine.told(Tell.START)]
    assert started == [board.tcb("it").address, board.tcb("it", 1).address]
    assert board.held("it")[Fixed.TCB].object == board.tcb("it").address


def test_one_that_ends_again_and_again_is_given_up_until_the_task_ends(board: Root) -> None:
    running, standbys = board.running("it"), board.lives.standbys
    for _ in range(MOST_ENDS):
        standbys.ended(running)
        standbys.make_all()
        assert running.standby is Standby.READY
    standbys.ended(running)
    standbys.make_all()
    assert running.standby is Standby.GIVEN_UP
    board.ended("it", SIGKILLED)
    standbys.make_all()
    assert running.standby is Standby.READY


def test_none_stands_by_for_what_is_done(board: Root) -> None:
    running = board.running("it")
    board.supervisor.exited(running.number, 0)
    board.lives.standbys.make_all()
    assert running.standby is Standby.NONE
    for body in (running.objects.body, running.objects.spare):
        assert body is not None
        cap = board.cap(body.threads[0].tcb.cptr)
        assert cap.is_null or Tcb(board.machine.ram, cap.object).process == ProcessState.NONE


def test_a_task_that_is_ended_twice_before_it_is_started_is_taken_over_once(board: Root) -> None:
    running = board.running("it")
    board.lives.end(running)
    board.lives.end(running)
    assert running.standby is Standby.CHOSEN
    board.lives.start_again(running)
    assert (running.standby, running.life) == (Standby.NONE, Life.RUNNING)


# --- all by one trap

ALONE = task("it", provides=(Provide("it", PING),), restart=Restart.ALWAYS, standby=True)


@pytest.fixture
def alone() -> Iterator[Root]:
    with root(ALONE) as made:
        made.supervisor.start_all()
        made.lives.standbys.make_all()
        yield made


def batches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many entries each batch has from now on."""
    sent: list[int] = []
    real = machine.batch

    def batch(entries: Sequence[BatchEntry]) -> list[Completion]:
        sent.append(len(entries))
        return real(entries)

    monkeypatch.setattr(machine, "batch", batch, raising=False)
    return sent


def test_the_only_thread_of_what_has_ended_is_followed_by_one_trap(
    alone: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen, running = alone.running("it").objects.spare, alone.running("it")
    before, sent = alone.held("it"), batches(monkeypatch)
    alone.lose("it", SIGKILLED)
    alone.ended("it", SIGKILLED)
    assert len(sent) == 1
    assert running.objects.body is chosen
    assert (running.life, running.restarts, running.standby) == (Life.RUNNING, 1, Standby.NONE)
    assert cspace_of(alone, chosen) == alone.cap(running.objects.cnode.cptr).object
    assert tcb_of(alone, chosen).bound_notification is not None
    after = alone.held("it")
    assert {slot: (cap.type, cap.rights) for slot, cap in after.items()} == {
        slot: (cap.type, cap.rights) for slot, cap in before.items()
    }
    assert after[Fixed.TCB].object == tcb_of(alone, chosen).address


def test_it_goes_on_when_all_that_it_may_use_is_its_own(alone: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen, sent = alone.running("it").objects.spare, list[BatchEntry]()
    assert chosen is not None
    assert chosen.waiting is not None
    real = machine.batch

    def batch(entries: Sequence[BatchEntry]) -> list[Completion]:
        sent.extend(entries)
        return real(entries)

    monkeypatch.setattr(machine, "batch", batch, raising=False)
    alone.lose("it", SIGKILLED)
    alone.ended("it", SIGKILLED)
    signal = [entry[1] for entry in sent].index(chosen.waiting.takeover.cptr)
    assert [entry[0] for entry in sent[signal + 1 :]] == [Syscall.IDENTIFY]  # other calls may come behind each entry


def test_what_nobody_waits_for_is_done_when_the_next_one_is_made(alone: Root) -> None:
    running = alone.running("it")
    ended, chosen = running.objects.body, running.objects.spare
    former = tcb_of(alone, ended)
    alone.lose("it", SIGKILLED)
    alone.ended("it", SIGKILLED)
    assert former.bound_notification is None
    running.life = Life.DEAD  # whatever becomes of it meanwhile
    alone.lives.standbys.make_all()
    assert tcb_of(alone, chosen).name == "it"
    assert alone.cap(ended.threads[0].tcb.cptr).is_null


def test_what_has_faulted_is_ended_before_anybody_looks_at_what_it_has(
    alone: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen, sent = alone.running("it").objects.spare, batches(monkeypatch)
    alone.fault("it", FaultLabel.CAP_FAULT, (0, 0x77, 0, LookupFailureKind.MISSING_CAPABILITY, 0))
    assert len(sent) > 1
    assert alone.running("it").objects.body is chosen


def test_a_slot_that_the_former_one_emptied_is_filled_before_it_goes_on(alone: Root) -> None:
    alone.act_for("it").call(Fixed.CNODE, Label.CNODE_DELETE, (Fixed.REPLY, 64))
    chosen = alone.running("it").objects.spare
    alone.lose("it", SIGKILLED)
    alone.ended("it", SIGKILLED)
    assert alone.held("it")[Fixed.REPLY].type == CapType.REPLY
    assert alone.running("it").objects.body is chosen


def test_its_faults_go_where_the_tasks_go_by_then(alone: Root) -> None:
    running = alone.running("it")
    endpoint = Endpoint(alone.authority.slots.allocate())
    alone.authority.cnode.mint(endpoint.cptr, alone.authority.cnode, alone.endpoint.cptr, 77)
    alone.lives.send_faults_to(running, (endpoint,))
    alone.lose("it", SIGKILLED)
    alone.ended("it", SIGKILLED)
    assert tcb_of(alone, running.objects.body).slot(TcbSlot.FAULT_HANDLER).word1 == 77


def test_where_it_had_ended_unseen_one_is_started(alone: Root) -> None:
    running = alone.running("it")
    alone.machine.kernel.died(tcb_of(alone, running.objects.spare), SIGKILLED)
    alone.machine.run()
    alone.machine.tells.clear()
    alone.lose("it", SIGKILLED)
    alone.ended("it", SIGKILLED)
    assert [message.subject for message in alone.machine.told(Tell.START)] == [alone.tcb("it").address]
    assert alone.held("it")[Fixed.TCB].object == alone.tcb("it").address


def test_one_that_may_run_yet_loses_its_threads_before_its_slots_are_looked_at(
    alone: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when it is killed by order, or hangs: it could still be handed something, or let go of it."""
    chosen, sent = alone.running("it").objects.spare, batches(monkeypatch)
    alone.ended("it", SIGKILLED)
    assert len(sent) > 1
    assert alone.running("it").objects.body is chosen
    assert (alone.running("it").life, alone.running("it").restarts) == (Life.RUNNING, 1)


@pytest.mark.parametrize("allowed", [False, True], ids=["by root", "allowed ahead"])
@pytest.mark.parametrize("code", [0, 3, 137])
def test_one_that_has_told_of_its_end_itself_is_killed_before_the_next_goes_on(
    alone: Root, monkeypatch: pytest.MonkeyPatch, code: int, allowed: bool
) -> None:
    """After EXIT the host's process goes on, with all that it has mapped, until it is killed."""
    running = alone.running("it")
    former, chosen = alone.tcb("it"), tcb_of(alone, running.objects.spare)
    waiting = Thread(alone.machine, chosen, 0, 0, 0, 5)
    alone.machine.threads[chosen.address] = waiting
    assert waiting.syscall(Syscall.WAIT, Fixed.TAKEOVER) is None
    alone.act_for("it").syscall(Syscall.EXIT, words=(code,))
    told = []
    tell = Outbox.tell

    def heard(outbox: Outbox, kind: Tell, subject: int, *more: int) -> None:
        told.append((kind, subject))
        tell(outbox, kind, subject, *more)

    monkeypatch.setattr(Outbox, "tell", heard)
    if allowed:
        running.life = Life.DEAD
        alone.lives.renew(running, is_told=True)
    else:
        reply = Reply(alone.authority.make("root", ObjectType.REPLY))
        message = alone.endpoint.nb_recv(reply)
        assert message is not None
        alone.supervisor.fault(Sender.of(message.badge), message.label, message.words)
    assert waiting.completion() is not None
    assert (Tell.KILL, former.address) in told
    assert told.index((Tell.KILL, former.address)) < told.index((Tell.DELIVER, chosen.address))
    assert running.objects.body.threads[0].tcb.cptr == running.objects.placed[Fixed.TCB].cptr
    alone.lives.standbys.make_all()
    assert running.standby is Standby.READY


# --- before the next one stands by


def take_over(board: Root) -> tuple[Body, Body]:
    """What served has been ended by a signal, and nothing is made yet. Returns its body, and that which serves."""
    objects = board.running("it").objects
    former, chosen = objects.body, objects.spare
    assert chosen is not None
    board.lose("it", SIGKILLED)
    board.ended("it", SIGKILLED)
    assert objects.body is chosen
    return former, chosen


def is_whole(board: Root, former: Body, chosen: Body) -> bool:
    """Whether all that was left to `make_all` is done, and one stands by in the place of the former."""
    running = board.running("it")
    assert (running.life, running.standby) == (Life.RUNNING, Standby.READY)
    assert (tcb_of(board, chosen).name, tcb_of(board, former).name) == ("it", "it.standby")
    assert board.held("it")[Fixed.TCB].object == tcb_of(board, chosen).address
    return board.has_started("it")


@pytest.mark.parametrize("how", ["killed", "exited", "faulted", "killed by order"])
def test_one_that_took_over_and_ends_before_the_next_stands_by_is_started(alone: Root, how: str) -> None:
    former, chosen = take_over(alone)
    running = alone.running("it")
    if how == "killed":
        alone.lose("it", SIGKILLED)
        alone.ended("it", SIGKILLED)
    elif how == "exited":
        alone.act_for("it").syscall(Syscall.EXIT, words=(3,))
        alone.ended("it", 3 << 8)
    elif how == "faulted":
        alone.fault("it", FaultLabel.CAP_FAULT, (0, 0x77, 0, LookupFailureKind.MISSING_CAPABILITY, 0))
    else:
        alone.supervisor.kill(running)
    assert (running.restarts, running.objects.body) == (2, chosen)
    assert alone.has_started("it")
    alone.lives.standbys.make_all()
    assert is_whole(alone, former, chosen)
    alone.lose("it", SIGKILLED)
    alone.ended("it", SIGKILLED)
    assert (running.objects.body, alone.has_started("it")) == (former, True)
    alone.lives.standbys.make_all()
    assert is_whole(alone, chosen, former)


@pytest.mark.parametrize("how", ["done", "given up"])
def test_of_one_that_is_over_before_the_next_stands_by_nothing_is_left(alone: Root, how: str) -> None:
    former, chosen = take_over(alone)
    running = alone.running("it")
    if how == "done":
        alone.supervisor.exited(running.number, 0)
    else:
        while not running.is_over:
            alone.lose("it", SIGKILLED)
            alone.ended("it", SIGKILLED)
    alone.clock.now += MAKE_SECONDS
    alone.lives.standbys.make_all()
    assert running.standby is Standby.NONE
    assert alone.cap(former.threads[0].tcb.cptr).is_null
    assert tcb_of(alone, chosen).process == ProcessState.NONE
    if how == "given up":
        alone.supervisor.kill(running)
        assert alone.has_started("it")
        alone.lives.standbys.make_all()
        assert is_whole(alone, former, chosen)


def test_a_system_that_is_suspended_before_the_next_stands_by_is_resumed(alone: Root) -> None:
    take_over(alone)
    alone.resume()
    running = alone.running("it")
    assert alone.has_started("it")
    assert running.objects.spare is not None
    alone.lives.standbys.make_all()
    assert is_whole(alone, running.objects.spare, running.objects.body)


def test_what_is_refused_when_the_next_one_is_made_ends_nothing(
    alone: Root, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    nowhere = 1 << 40
    monkeypatch.setattr(
        alone.authority.memory,
        "queue_destruction",
        lambda batch, _: batch.queue(alone.authority.cnode.revoke, nowhere),
    )
    take_over(alone)
    alone.lives.standbys.make_all()
    former, chosen = take_over(alone)
    alone.lives.standbys.make_all()
    assert "left undone" in caplog.text
    assert is_whole(alone, former, chosen)
