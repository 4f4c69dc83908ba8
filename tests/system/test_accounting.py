"""The accounting proof: whatever a live system does with memory, it adds up to RAM, and it all comes back.

One system for many sequences. An agent, the initial task, obeys: it retypes, copies, mints, moves, maps and unmaps,
starts processes that live or die, deletes and revokes, at random. After each step every sum over the untyped tree is
checked; after each sequence all is revoked, and the pool is whole, no frame of it has memory of its own, and kernel and
monitor hold the memory files that they held before.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import zmq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from libsel4py.abi import ObjectType
from tests.memory_rows import check_sums, walk
from tests.system.conftest import SECONDS, Boot, Booted
from tests.system.images.obeying import PLACES, POOL_BITS, SLOTS

AGENT = "tests.system.images.obeying"
CHILD = "tests.system.images.behaviour"
SMALL = ("/memfd:sel4py-frame (deleted)", "/memfd:sel4py-stock (deleted)")  # kerneld/host/frame_stock.py

SIZES = {
    ObjectType.UNTYPED: (12, POOL_BITS - 1),
    ObjectType.FRAME: (12, 16),
    ObjectType.CNODE: (1, 8),
    ObjectType.SCHED_CONTEXT: (7, 9),
    ObjectType.VSPACE: (14, 20),
}
KINDS = [*SIZES, ObjectType.FRAME, ObjectType.UNTYPED, ObjectType.ENDPOINT, ObjectType.TCB, ObjectType.NOTIFICATION]
slot = st.integers(0, SLOTS - 1)
few = st.one_of(st.just(0), slot)  # mostly where the pool is


@st.composite
def retypes(draw: st.DrawFn) -> tuple[Any, ...]:
    kind = draw(st.sampled_from(KINDS))
    low, high = SIZES.get(kind, (0, 0))
    return ("retype", draw(few), int(kind), draw(st.integers(low, high)), draw(slot), draw(st.integers(1, 3)))


step = st.one_of(
    retypes(),
    retypes(),
    st.tuples(st.just("copy"), slot, slot),
    st.tuples(st.just("mint"), slot, slot, st.integers(1, 5)),
    st.tuples(st.just("move"), slot, slot),
    st.tuples(st.just("delete"), slot),
    st.tuples(st.just("revoke"), slot),
    st.tuples(st.just("map"), slot, few, st.integers(0, PLACES - 1), st.integers(0, 1)),
    st.tuples(st.just("unmap"), slot),
    st.tuples(st.just("start"), few, slot, st.integers(0, 1)),
)


class Live:
    """A system with its agent, and what it holds when nothing is made."""

    def __init__(self, system: Booted, folder: Path) -> None:
        self.system = system
        self._folder = folder
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._events = self._context.socket(zmq.SUB)
        self._events.subscribe(b"")
        self._events.connect(f"ipc://{system.folder / 'events'}")
        self._watch = threading.Thread(target=self._release_at_its_end)
        self._watch.start()

    def begin(self) -> None:
        """Look at what is held when nothing is made."""
        self.tell("revoke_all")
        self._at_rest = self._holding()

    def tell(self, what: str, *arguments: int) -> None:
        """Have the agent do something, and wait until it is done."""
        (self._folder / "told").write_text(json.dumps([what, *arguments]))
        (self._folder / "done").open("w").close()
        assert self.system.process.poll() is None, self.system.logs()

    def memory(self) -> Mapping[str, Any]:
        found = self.system.ask("inspect", what="memory")
        assert isinstance(found, Mapping)
        check_sums(found)
        assert found["lost"] == 0
        return found

    def check_at_rest(self) -> None:
        """The pool is whole, and everything else as it was. Processes that end take their time: their ends are told."""
        pools = [row for row in walk(self.memory()["untyped"]) if row["bytes"] == 1 << POOL_BITS and row["free"]]
        assert any(not row["children"] and row["free"] == row["bytes"] for row in pools), pools
        deadline = time.monotonic() + SECONDS
        while (holding := self._holding()) != self._at_rest:
            assert time.monotonic() < deadline, f"{holding} is held, and {self._at_rest} was"
            if self._events.poll(200):  # what the monitor keeps it lets go of a moment later, which nothing tells
                self._events.recv_multipart()
        assert self.system.ask("fsck") == []

    def _holding(self) -> tuple[object, ...]:
        """Processes, frames with memory of their own, and memory files of kernel and monitor, but for what is made
        ahead for small frames: that is more the more of them there were, and some of it the monitor does not have yet.
        """
        status = self.system.ask("status")
        assert isinstance(status, Mapping)
        holding: list[object] = [status["tasks"], status["frames_with_own_memory"]]
        ahead, untold = int(status["made_ahead_for_frames"]), int(status["made_ahead_untold"])
        for pid, made in ((status["pid"], ahead), (self.system.process.pid, ahead - untold)):
            files = _memory_files(int(pid))
            small = [name for name in files if name in SMALL]
            holding += [[name for name in files if name not in SMALL]]
            holding += [len(small) - made if files else 0]
        return tuple(holding)

    def _release_at_its_end(self) -> None:
        """Whoever waits for the agent need not wait for ever."""
        with contextlib.suppress(ChildProcessError):  # it was waited for already
            os.waitid(os.P_PID, self.system.process.pid, os.WEXITED | os.WNOWAIT)
        os.close(os.open(self._folder / "done", os.O_RDONLY | os.O_NONBLOCK))

    def close(self) -> None:
        self._watch.join()
        self._context.destroy(linger=0)


def _memory_files(pid: int) -> list[str]:
    """None to be seen where Linux shows the descriptors of who may not be dumped to root alone."""
    found = []
    try:
        names = os.listdir(f"/proc/{pid}/fd")
    except PermissionError:
        return []
    for name in names:
        try:
            target = os.readlink(f"/proc/{pid}/fd/{name}")
        except FileNotFoundError:
            continue
        if "memfd:" in target:
            found.append(target)
    return sorted(found)


@pytest.fixture
def live(boot: Boot) -> Iterator[Live]:
    with tempfile.TemporaryDirectory(prefix="sel4py-agent-") as name:
        for fifo in ("told", "done"):
            os.mkfifo(Path(name) / fifo)
        made = Live(boot(name, CHILD, image=AGENT, readable=[name]), Path(name))
        try:
            made.begin()
            yield made
        finally:
            try:
                if made.system.process.poll() is None:
                    made.system.ask("down")
            finally:
                made.close()
        assert made.system.wait() == 0, made.system.logs()


def play(live: Live, steps: list[tuple[Any, ...]]) -> None:
    live.tell("begin")
    for what, *arguments in steps:
        live.tell(what, *arguments)
        live.memory()
    live.tell("revoke_all")
    live.check_at_rest()


def test_a_sequence_of_everything_adds_up(live: Live) -> None:
    frame, vspace = int(ObjectType.FRAME), int(ObjectType.VSPACE)
    play(
        live,
        [
            ("retype", 0, frame, 12, 1, 2),
            ("copy", 1, 3),
            ("map", 1, 0, 0, 1),
            ("map", 3, 0, 1, 0),
            ("retype", 0, vspace, 16, 4, 1),
            ("map", 2, 4, 0, 1),
            ("start", 0, 8, 1),
            ("start", 0, 12, 0),
            ("move", 3, 5),
            ("unmap", 5),
            ("delete", 9),
            ("retype", 0, int(ObjectType.ENDPOINT), 0, 16, 1),
            ("mint", 16, 17, 3),
            ("retype", 0, int(ObjectType.NOTIFICATION), 0, 18, 1),
            ("map", 18, 0, 2, 1),
            ("revoke", 16),
            ("revoke", 1),
            ("delete", 1),
        ],
    )


def test_all_that_was_mapped_comes_back(live: Live) -> None:
    live.tell("begin")
    live.tell("retype", 0, int(ObjectType.FRAME), 12, 1, PLACES)
    for number in range(PLACES):
        live.tell("map", 1 + number, 0, number, 1)
    status = live.system.ask("status")
    assert isinstance(status, Mapping)
    assert status["frames_with_own_memory"] >= PLACES
    live.tell("revoke_all")
    live.check_at_rest()


def search(live: Live, examples: int, length: int) -> None:
    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(st.lists(step, max_size=length))
    def any_sequence(steps: list[tuple[Any, ...]]) -> None:
        play(live, steps)

    any_sequence()


def test_any_sequence_adds_up_and_comes_back(live: Live) -> None:
    search(live, 12, 20)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_many_sequences_add_up_and_come_back(live: Live) -> None:
    search(live, 300, 60)
