"""The trace of virtual cores: what counts, and what another kernel finds."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from kerneld.cores import trace as traces
from kerneld.cores.trace import RUNS, TRACE_BYTES, Event, Trace
from kerneld.records import KernelRecord
from tests.harness import Machine


class RolledBack(Exception):
    pass


@dataclass
class Scene:
    machine: Machine = field(default_factory=lambda: Machine(cores=1, step_us=10))
    memory: bytearray = field(default_factory=lambda: bytearray(TRACE_BYTES))

    def trace(self) -> Trace:
        """As a kernel makes it that is started on this machine."""
        return Trace(KernelRecord.of(self.machine.ram), self.memory)

    def add(self, trace: Trace, *events: Event) -> None:
        with self.machine.ram.transaction():
            self._write(trace, events)
        trace.commit()

    def lose(self, trace: Trace, *events: Event) -> None:
        """They are written by a transaction that is rolled back."""
        with self.machine.ram.transaction():
            self._write(trace, events)
            raise RolledBack

    def _write(self, trace: Trace, events: tuple[Event, ...]) -> None:
        for event in events:
            trace.add(event)
        trace.write()


@pytest.fixture
def scene() -> Scene:
    scene = Scene()
    with scene.machine.ram.transaction():
        KernelRecord.of(scene.machine.ram).events = 0
    return scene


def test_another_kernel_finds_what_was_committed_alone(scene: Scene) -> None:
    trace, kept = scene.trace(), [Event(10, 0, "root", "CALL"), Event(20, 1, "ähnlich", RUNS)]
    scene.add(trace, *kept)
    with pytest.raises(RolledBack):
        scene.lose(trace, Event(30, 0, "never", "CALL"))
    assert scene.trace().last() == kept
    assert scene.trace().last(1) == kept[1:]


def test_another_kernel_does_not_tell_again_who_runs(scene: Scene) -> None:
    trace = scene.trace()
    with scene.machine.ram.transaction():
        trace.runs(40, 0, scene.machine.root.tcb.address, "root")
        trace.runs(50, 0, 1, "other")
        trace.write()
    assert trace.last() == [Event(50, 0, "other", RUNS)]


def test_the_oldest_are_overwritten(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are kept are whole also where a transaction has written, and was not committed."""
    monkeypatch.setattr(traces, "KEPT", 4)
    monkeypatch.setattr(traces, "SPARE", 2)
    trace, events = scene.trace(), [Event(number, 0, f"thread{number}", "CALL") for number in range(20)]
    for event in events:
        scene.add(trace, event)
    with pytest.raises(RolledBack):
        scene.lose(trace, Event(98, 0, "never", "CALL"), Event(99, 0, "never", "CALL"))
    assert scene.trace().last() == events[-4:]
