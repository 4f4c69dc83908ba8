"""Integrity of what no system call causes: an interrupt, the end of a process, a budget that is looked at, a channel
without a page and a late notice change only what their cause has to do with."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from kerneld import budgets, channels, death_notices, interrupts, listening, threads, timeouts
from kerneld.core import Core
from kerneld.objects import notification
from kerneld.records import Channel, DeathNotice, Notification, SchedContext, Slot, Tcb, TcbSlot
from tests.model import deeds, incidents
from tests.model.events import Event
from tests.model.test_integrity import arena, begin
from tests.model.watch import Watch

STEPS = 60
KINDS = len(Event.__args__)


def befallen(seed: int, steps: int = STEPS) -> Watch:
    """One round in which something happens at every other step; all of it compared."""
    on, watch = begin(alone=bool(seed % 2), fast_path=bool(seed & 2))
    rng = random.Random(seed)
    for _ in range(steps):
        incidents.befall(on, rng)
        deeds.act(on, rng)
    return watch


def test_an_event_changes_what_its_cause_has_to_do_with() -> None:
    seen = sum((befallen(seed).events for seed in range(2)), Counter[type[Event]]())
    assert len([kind for kind, count in seen.items() if count]) == KINDS, f"not all of them happened: {seen}"


@pytest.mark.slow
def test_integrity_of_events_at_length(capsys: pytest.CaptureFixture[str]) -> None:
    watches = [befallen(seed) for seed in range(2000, 2020)]
    events = sum((watch.events for watch in watches), Counter[type[Event]]())
    with capsys.disabled():
        told = ", ".join(f"{count} {kind.__name__}" for kind, count in events.most_common())
        print(f"\nevents that changed something, each compared with all of RAM: {told}")
    assert min(events.values()) > 5


# --- a kernel in which events change more is found


def _the_next_line_is_masked_as_well(whole: Any) -> Any:
    def raise_line(core: Core, line: int) -> None:
        whole(core, line)
        following = incidents.HOSTILE_LINE + incidents.GOOD_LINE - line
        interrupts.set_state(core, following, interrupts.state_of(core, following) | interrupts.IRQ_PENDING)

    return raise_line


def _all_that_wait_for_signals_are_told(whole: Any) -> Any:
    def raise_line(core: Core, line: int) -> None:
        whole(core, line)
        if line == incidents.HOSTILE_LINE:
            bound = arena()[0].server.tcb.bound_notification
            assert bound is not None
            notification.send_signal(core, bound, 1)

    return raise_line


def _another_process_is_taken_for_dead(whole: Any) -> Any:
    def lose_process(core: Core, tcb: Tcb, status: int) -> int:
        lost: int = whole(core, tcb, status)
        arena()[0].server.tcb.process = 0
        return lost

    return lose_process


def _others_channels_are_severed(whole: Any) -> Any:
    def lose(core: Core, tcb: Tcb) -> int:
        target = channels.target_of(tcb.slot(TcbSlot.LISTEN))
        if target is not None:
            for channel in list(channels.connected_to(target)):
                channels.sever(core, channel)
        return int(whole(core, tcb))

    return lose


def _all_notices_tell(whole: Any) -> Any:
    def process_ended(core: Core, tcb: Tcb, status: int) -> int:
        return int(whole(core, arena()[0].hostile[0].tcb, status))

    return process_ended


def _a_late_notice_signals_another(_: Any) -> Any:
    def signal(core: Core, notice: DeathNotice) -> None:
        slot = notice.slot
        rung = Slot(core.ram, arena()[2].slot(arena()[0].bell).address).object if slot.object else slot.object
        notification.send_signal(core, Notification(core.ram, rung), slot.word1)

    return signal


def _the_client_pays(whole: Any) -> Any:
    def look(core: Core, context: SchedContext) -> None:
        whole(core, context)
        paying = arena()[0].client.tcb.sched_context
        if paying is not None:
            paying.consumed = paying.consumed + 1

    return look


def _a_timeout_stops_the_client(whole: Any) -> Any:
    def tell(core: Core, context: SchedContext) -> None:
        whole(core, context)
        arena()[0].client.tcb.fault_label = 1

    return tell


def _a_client_loses_all_its_channels(whole: Any) -> Any:
    def sever(core: Core, channel: Channel) -> None:
        target = channels.target_of(channel.slot)
        for each in list(channels.connected_to(target)) if target is not None else []:
            whole(core, each)

    return sever


def _nobody_listens_any_more(_: Any) -> Any:
    def forget_process(tcb: Tcb) -> None:
        target = channels.target_of(tcb.slot(TcbSlot.LISTEN))
        for each in (tcb, arena()[0].server.tcb):
            if target is not None:
                each.slot(TcbSlot.LISTEN).bound = 0

    return forget_process


def _befallen_again_and_again() -> None:
    for seed in range(20):
        befallen(seed)


MUTANTS = [
    (interrupts, "raise_line", _the_next_line_is_masked_as_well, "Interrupt"),
    (interrupts, "raise_line", _all_that_wait_for_signals_are_told, "Interrupt"),
    (threads, "lose_process", _another_process_is_taken_for_dead, "ProcessEnd"),
    (listening, "lose", _others_channels_are_severed, "ProcessEnd"),
    (death_notices, "_signal", _a_late_notice_signals_another, "ProcessEnd|Telling"),
    (budgets, "look", _the_client_pays, "BudgetLook"),
    (timeouts, "_raise", _a_timeout_stops_the_client, "BudgetLook"),
    (channels, "sever", _a_client_loses_all_its_channels, "ChannelFailure|ProcessEnd"),
    (listening, "forget_process", _nobody_listens_any_more, "Reaping"),
]


RARE = [(death_notices, "process_ended", _all_notices_tell, "ProcessEnd")]


@pytest.mark.parametrize(
    ("module", "name", "mutant", "event"),
    [*MUTANTS, *(pytest.param(*each, marks=pytest.mark.slow) for each in RARE)],
    ids=[mutant.__name__[1:] for _, _, mutant, _ in (*MUTANTS, *RARE)],
)
def test_a_kernel_in_which_an_event_changes_more_is_found(
    module: ModuleType, name: str, mutant: Callable[[Any], Any], event: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    arena()
    monkeypatch.setattr(module, name, mutant(getattr(module, name)))
    with pytest.raises(AssertionError, match=rf"({event})\(.*no authority over"):
        _befallen_again_and_again()
