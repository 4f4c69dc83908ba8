"""A task that has ended and that nothing stands by for, on the pure kernel: made anew and started by one trap."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from kerneld.outbox import Tell
from kerneld.records import CapType, ProcessState, TcbSlot
from libsel4py.abi import FaultLabel, Label, LookupFailureKind
from libsel4py.capabilities import Endpoint
from libsel4py.description import Provide, Restart
from libsel4py.environment import Slot as Fixed
from libsel4py.interfaces.lifecycle import FOREVER
from libsel4py.lowlevel.syscalls import BatchEntry, Completion, machine
from servers.root.renewals import PREPARE_SECONDS
from servers.root.running_task import Life
from tests.unit.servers.root_board import PING, Root, root, task

SIGKILLED = 9
IT = task("it", provides=(Provide("it", PING),), restart=Restart.ALWAYS)
TWO = task("two", restart=Restart.ALWAYS, threads=1)
WIDE = 2  # entries with three capabilities, of which a trap has one


@pytest.fixture
def board() -> Iterator[Root]:
    with root(IT, TWO) as made:
        made.supervisor.start_all()
        made.lives.renewals.make_all()
        yield made


@pytest.fixture
def sent(board: Root, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many entries each trap of many has, after the fixture's."""
    counts: list[int] = []
    real = machine.batch

    def batch(entries: Sequence[BatchEntry]) -> list[Completion]:
        counts.append(len(entries))
        return real(entries)

    monkeypatch.setattr(machine, "batch", batch, raising=False)
    return counts


def end(board: Root, name: str) -> None:
    board.lose(name, SIGKILLED)
    board.ended(name, SIGKILLED)


def test_its_next_life_has_begun_when_the_batch_is_sent(board: Root, sent: list[int]) -> None:
    running, before = board.running("it"), board.held("it")
    board.machine.tells.clear()
    end(board, "it")
    assert len(sent) == WIDE
    assert (running.life, running.restarts) == (Life.RUNNING, 1)
    main = board.tcb("it")
    assert [message.subject for message in board.machine.told(Tell.START)] == [main.address]
    assert (main.name, main.rip, main.bound_notification is not None) == ("it", running.image, True)
    after = board.held("it")
    assert {slot: (cap.type, cap.rights) for slot, cap in after.items()} == {
        slot: (cap.type, cap.rights) for slot, cap in before.items()
    }
    assert after[Fixed.TCB].object == main.address


def test_it_is_prepared_again_in_time_and_not_while_clients_wait_for_the_new_life(board: Root) -> None:
    renewals = board.lives.renewals
    assert renewals.next_due == FOREVER
    end(board, "it")
    assert renewals.next_due == board.clock.now + PREPARE_SECONDS
    renewals.make_all()
    assert renewals.next_due == FOREVER
    for restarts in (2, 3):  # the second of these finds nothing prepared
        end(board, "it")
        assert (board.running("it").restarts, board.has_started("it")) == (restarts, True)


def test_callers_are_told_and_what_it_had_made_is_gone(board: Root) -> None:
    free = board.running("it").environment.first_free_slot
    actor = board.act_for("it")
    actor.call(Fixed.CNODE, Label.CNODE_COPY, (free, 64, Fixed.NOTIFICATION, 64, 15), [Fixed.CNODE])
    assert free in board.held("it")
    end(board, "it")
    assert free not in board.held("it")


def test_a_slot_that_the_former_life_emptied_is_filled_before_the_next_begins(board: Root) -> None:
    board.act_for("it").call(Fixed.CNODE, Label.CNODE_DELETE, (Fixed.REPLY, 64))
    end(board, "it")
    assert board.held("it")[Fixed.REPLY].type == CapType.REPLY
    assert board.has_started("it")


def test_its_faults_go_where_the_tasks_go_by_then(board: Root) -> None:
    running = board.running("it")
    endpoint = Endpoint(board.authority.slots.allocate())
    board.authority.cnode.mint(endpoint.cptr, board.authority.cnode, board.endpoint.cptr, 77)
    board.lives.send_faults_to(running, (endpoint,))
    end(board, "it")
    assert board.tcb("it").slot(TcbSlot.FAULT_HANDLER).word1 == 77


def test_processor_time_of_former_lives_is_kept(board: Root) -> None:
    for used in (3000, 6000):
        board.machine.used[board.tcb("it").address] = used
        end(board, "it")
        assert board.running("it").used_us == used


def test_what_has_faulted_or_has_further_threads_is_ended_first(board: Root) -> None:
    """Others of its threads could run on."""
    board.fault("it", FaultLabel.CAP_FAULT, (0, 0x77, 0, LookupFailureKind.MISSING_CAPABILITY, 0))
    assert board.has_started("it")
    end(board, "two")
    assert (board.has_started("two"), board.has_started("two", 1)) == (True, True)
    assert board.tcb("two", 1).process != ProcessState.NONE
