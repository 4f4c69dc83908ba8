"""The accounting proof: whatever a live system does with memory, it adds up to RAM, and it all comes back.

One system for many sequences. An agent, the initial task, obeys: it retypes, copies, mints, moves, maps and unmaps,
starts processes that live or die, deletes and revokes, at random, in all of the system's RAM. A process of it may be
killed between two steps, and the kernel while a step is under way. After each step every sum over the untyped tree is
checked; after each sequence all is revoked, and each untyped that there was at boot is whole, no frame of it has memory
of its own, and kernel and monitor hold the memory files that they held before.

A search's seed stands in the error of one that fails: `SEL4PY_TEST_SEED` repeats its sequences, though not the instants
at which kernels are killed.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import signal
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import zmq
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from libsel4py.abi import ObjectType
from tests.memory_rows import check_sums
from tests.system.conftest import SECONDS, Boot, Booted
from tests.system.images.obeying import MOST_ROOTS, PLACES, SLOTS

AGENT = "tests.system.images.obeying"
CHILD = "tests.system.images.behaviour"
SMALL = ("/memfd:sel4py-frame (deleted)", "/memfd:sel4py-stock (deleted)")  # kerneld/host/frame_stock.py

SIZES = {
    ObjectType.UNTYPED: (12, 26),
    ObjectType.FRAME: (12, 21),
    ObjectType.CNODE: (1, 8),
    ObjectType.SCHED_CONTEXT: (7, 9),
    ObjectType.VSPACE: (14, 20),
}
KINDS = [*SIZES, ObjectType.FRAME, ObjectType.UNTYPED, ObjectType.ENDPOINT, ObjectType.TCB, ObjectType.NOTIFICATION]
slot = st.integers(0, SLOTS - 1)
few = st.one_of(st.just(0), st.integers(0, MOST_ROOTS - 1), slot)  # mostly where untyped memory is
space = st.one_of(st.just(0), slot)  # 0: the agent's own
NO_DEATHS = 1_000_000  # of kernels is too many


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
    st.tuples(st.just("map"), slot, space, st.integers(0, PLACES - 1), st.integers(0, 1)),
    st.tuples(st.just("unmap"), slot),
    st.tuples(st.just("start"), few, slot, st.integers(0, 1)),
    st.tuples(st.just("start"), few, slot, st.just(1)),
    st.tuples(st.just("kill"), st.integers(0, 7)),
)
steps = st.tuples(step, st.sampled_from((False,) * 7 + (True,)))  # whether the kernel is killed meanwhile


class Live:
    """A system with its agent, and what it holds when nothing is made."""

    def __init__(self, system: Booted, folder: Path) -> None:
        self.system = system
        self.tasks_killed = self.kernels_killed = 0
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

    def tell(self, what: str, *arguments: int, kernel_dies: bool = False) -> None:
        """Have the agent do something, and wait until it is done; the kernel may be killed meanwhile."""
        with contextlib.ExitStack() as end:
            kernel = end.enter_context(_opened(self._pid())) if kernel_dies else None
            (self._folder / "told").write_text(json.dumps([what, *arguments]))
            if kernel is not None:
                signal.pidfd_send_signal(kernel, signal.SIGKILL)
                self.kernels_killed += 1
            (self._folder / "done").open("w").close()
        assert self.system.process.poll() is None, self.system.logs()

    def kill(self, number: int) -> None:
        """The process of a child, if there is one."""
        rows = self.system.ask("ps")
        assert isinstance(rows, list)
        children = [row["pid"] for row in rows if row["image"] == CHILD and row["pid"]]
        if children:
            with contextlib.suppress(ProcessLookupError), _opened(children[number % len(children)]) as child:
                signal.pidfd_send_signal(child, signal.SIGKILL)
                self.tasks_killed += 1

    def _pid(self) -> int:
        status = self.system.ask("status")
        assert isinstance(status, Mapping)
        return int(status["pid"])

    def memory(self) -> Mapping[str, Any]:
        found = self.system.ask("inspect", what="memory")
        assert isinstance(found, Mapping)
        check_sums(found)
        assert found["lost"] == 0
        return found

    def check_at_rest(self) -> None:
        """All untyped memory is whole, and everything else as it was. Processes take their time to end, and tell so."""
        for row in self.memory()["untyped"]:  # beside the agent's own objects, which the kernel has made
            if row["type"] == "UNTYPED":
                assert not row["children"], row
                assert row["free"] == row["bytes"], row
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


@contextlib.contextmanager
def _opened(pid: int) -> Iterator[int]:
    """A descriptor of a process."""
    descriptor = os.pidfd_open(pid)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


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
        made = Live(boot(name, CHILD, image=AGENT, readable=[name], kernel_deaths=NO_DEATHS), Path(name))
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


def play(live: Live, sequence: list[tuple[tuple[Any, ...], bool]]) -> None:
    live.tell("begin")
    for (what, *arguments), kernel_dies in sequence:
        if what == "kill":
            live.kill(*arguments)
        else:
            live.tell(what, *arguments, kernel_dies=kernel_dies)
        live.memory()
    live.tell("revoke_all", kernel_dies=any(kernel_dies for _, kernel_dies in sequence))
    live.check_at_rest()


@pytest.mark.parametrize("kernel_dies", [False, True])
def test_a_sequence_of_everything_adds_up(live: Live, kernel_dies: bool) -> None:
    frame, vspace, own = int(ObjectType.FRAME), int(ObjectType.VSPACE), MOST_ROOTS
    sequence: list[tuple[Any, ...]] = [
        ("retype", 0, frame, 12, own + 1, 2),
        ("copy", own + 1, own + 3),
        ("map", own + 1, 0, 0, 1),
        ("map", own + 3, 0, 1, 0),
        ("retype", 1, vspace, 16, own + 4, 1),
        ("map", own + 2, own + 4, 0, 1),
        ("start", 0, own + 8, 1),
        ("start", 0, own + 12, 0),
        ("kill", 0),
        ("move", own + 3, own + 5),
        ("unmap", own + 5),
        ("delete", own + 9),
        ("retype", 0, int(ObjectType.ENDPOINT), 0, own + 16, 1),
        ("mint", own + 16, own + 17, 3),
        ("retype", 2, int(ObjectType.NOTIFICATION), 0, own + 18, 1),
        ("map", own + 18, 0, 2, 1),
        ("revoke", own + 16),
        ("revoke", own + 1),
        ("delete", own + 1),
    ]
    play(live, [(step, kernel_dies) for step in sequence])
    assert live.tasks_killed
    assert live.kernels_killed == (len(sequence) if kernel_dies else 0)


def test_all_that_was_mapped_comes_back(live: Live) -> None:
    live.tell("begin")
    live.tell("retype", 0, int(ObjectType.FRAME), 12, MOST_ROOTS, PLACES)
    for number in range(PLACES):
        live.tell("map", MOST_ROOTS + number, 0, number, 1)
    status = live.system.ask("status")
    assert isinstance(status, Mapping)
    assert status["frames_with_own_memory"] >= PLACES
    live.tell("revoke_all")
    live.check_at_rest()


def test_all_of_ram_can_be_used_up_and_comes_back(live: Live) -> None:
    """By one frame of the size of each untyped that there was at boot; the largest is mapped as well."""
    live.tell("begin")
    for root, bits in itertools.product(range(MOST_ROOTS), range(27, 11, -1)):  # those of other sizes are refused
        live.tell("retype", root, int(ObjectType.FRAME), bits, MOST_ROOTS + root, 1)
    live.tell("map", MOST_ROOTS, 0, 0, 1, kernel_dies=True)
    used = live.memory()
    assert used["free"] < 1 << 12  # what untyped memory is smaller than a page
    status = live.system.ask("status")
    assert isinstance(status, Mapping)
    assert status["frames_with_own_memory"] >= 1
    live.tell("revoke_all", kernel_dies=True)
    live.check_at_rest()


def search(live: Live, examples: int, length: int) -> None:
    number = int(os.environ.get("SEL4PY_TEST_SEED", random.randrange(1 << 32)))

    @seed(number)
    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(st.lists(steps, max_size=length))
    def any_sequence(sequence: list[tuple[tuple[Any, ...], bool]]) -> None:
        play(live, sequence)

    try:
        any_sequence()
    except BaseException as error:
        error.add_note(f"SEL4PY_TEST_SEED={number}")
        raise
    print(f"seed {number}: {live.tasks_killed} tasks and {live.kernels_killed} kernels were killed")


def test_any_sequence_adds_up_and_comes_back(live: Live) -> None:
    search(live, 12, 20)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_many_sequences_add_up_and_come_back(live: Live) -> None:
    search(live, 300, 60)
