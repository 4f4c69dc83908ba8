"""Pages of channels that a Revoke severs: the kernel's loop takes them away, before Python goes on."""

from __future__ import annotations

import os
import resource
import signal
import struct
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from kerneld import _fastpath
from kerneld.outbox import Tell
from libsel4py import abi
from libsel4py.abi import InitialSlot, Label, Syscall
from tests.channel_scene import CHANNEL, ChannelScene
from tests.harness import Machine

CHANNELS = 3
ELSEWHERE = 1 << 20  # no processor has this number


@dataclass(slots=True)
class Pages:
    """A client with `CHANNELS` channels; each has a page, and `ends` says of them what the host's part does."""

    machine: Machine
    pidfd: array[int]
    scene: ChannelScene = field(init=False)
    numbers: list[int] = field(init=False)
    pages: list[int] = field(init=False)
    ends: dict[int, tuple[int, array[int]]] = field(init=False)

    def __post_init__(self) -> None:
        self.scene = ChannelScene(self.machine)
        assert self.scene.listen() > 0
        self.scene.more_channels(self.scene.client, 1, CHANNELS - 1)
        slots = range(CHANNEL, CHANNEL + CHANNELS)
        assert all(self.scene.connect(channel=slot) > 0 for slot in slots)
        self.numbers = [self.scene.channel(slot=slot).address for slot in slots]
        self.pages = [os.memfd_create("page") for _ in slots]
        for page in self.pages:
            os.ftruncate(page, abi.CHANNEL_BYTES)
            self.says_processor(page, ELSEWHERE)
        self.ends = {number: (page, self.pidfd) for number, page in zip(self.numbers, self.pages, strict=True)}
        self.machine.settle()

    def says_processor(self, page: int, processor: int) -> None:
        """The client's, which it writes with each request."""
        os.pwrite(page, struct.pack("<I", processor), abi.CHANNEL_REQUEST + abi.CHANNEL_CPU)

    def submit(self) -> None:
        root, words = self.machine.root, (self.scene.way, abi.WORD_BITS)
        root.submit(Syscall.CALL, InitialSlot.CNODE, abi.message_info(Label.CNODE_REVOKE, 2), words)

    def revoke(self) -> None:
        """In the kernel's loop; the host has not been told."""
        self.submit()
        root = self.machine.root
        rings = array("Q", (root.tcb.trap_frame, root.tcb.consumed, root.tcb.address, 0))
        assert self.machine.kernel.fast_layout is not None
        arguments = self.machine.ram, self.machine.kernel.fast_layout, rings, 0, 0, array("Q", (0,)), self.ends
        assert _fastpath.serve(*arguments)[2] == 1

    def sizes(self) -> list[int]:
        return [os.fstat(page).st_size for page in self.pages]

    def told(self) -> list[int]:
        """The channels whose ends are in the outbox."""
        return [each.subject for each in self.machine.kernel.outbox if each.kind is Tell.CHANNEL_GONE]


@pytest.fixture
def looks() -> Iterator[list[int]]:
    """The signals that a client in this process has a look by."""
    seen: list[int] = []
    before = signal.signal(signal.SIGURG, lambda number, frame: seen.append(number))
    yield seen
    signal.signal(signal.SIGURG, before)


@pytest.fixture
def scene(machine: Machine) -> Iterator[Pages]:
    pidfd = os.pidfd_open(os.getpid())
    pages = Pages(machine, array("q", (pidfd,)))
    yield pages
    for descriptor in (pidfd, *pages.pages):
        os.close(descriptor)


@pytest.fixture
def pinned() -> Iterator[int]:
    """The processor that this thread stays on."""
    before = os.sched_getaffinity(0)
    processor = min(before)
    os.sched_setaffinity(0, {processor})
    yield processor
    os.sched_setaffinity(0, before)


def test_pages_are_gone_before_the_host_is_told(scene: Pages, looks: list[int]) -> None:
    scene.revoke()
    assert scene.sizes() == [0] * CHANNELS
    assert scene.ends == {}
    assert sorted(scene.told()) == sorted(scene.numbers)  # it does the rest
    assert looks == [signal.SIGURG]
    scene.machine.settle()


def test_behind_a_doorbell_they_are_gone_before_the_loop_is_entered(scene: Pages, looks: list[int]) -> None:
    machine, root = scene.machine, scene.machine.root
    scene.submit()
    bell = os.eventfd(1, os.EFD_NONBLOCK)
    assert machine.kernel.fast_layout is not None
    frame, tcb = root.tcb.trap_frame, root.tcb.address
    assert _fastpath.hear(machine.ram, machine.kernel.fast_layout, frame, tcb, bell, True, scene.ends) == (1, 0)
    assert (scene.sizes(), scene.ends, looks) == ([0] * CHANNELS, {}, [signal.SIGURG])
    assert sorted(scene.told()) == sorted(scene.numbers)
    machine.settle()
    os.close(bell)


def test_channels_that_are_not_severed_keep_their_pages(scene: Pages, looks: list[int]) -> None:
    other = max(scene.numbers) + 1
    page = os.memfd_create("other")
    os.ftruncate(page, abi.CHANNEL_BYTES)
    scene.ends[other] = page, scene.pidfd
    scene.revoke()
    assert list(scene.ends) == [other]
    assert os.fstat(page).st_size == abi.CHANNEL_BYTES
    os.close(page)


@pytest.mark.parametrize("pidfd", [-1, 1 << 20])
def test_a_client_that_has_no_process_is_not_told(scene: Pages, looks: list[int], pidfd: int) -> None:
    """None yet, none any more, or what is no process."""
    scene.pidfd[0] = pidfd
    scene.revoke()
    assert (scene.sizes(), scene.ends, looks) == ([0] * CHANNELS, {}, [])


def test_a_page_that_the_host_does_not_truncate_is_left_to_the_host(scene: Pages, looks: list[int]) -> None:
    kept = scene.numbers[1]
    read_only = os.open(f"/proc/self/fd/{scene.pages[1]}", os.O_RDONLY)
    scene.ends[kept] = read_only, scene.pidfd
    scene.revoke()
    assert scene.sizes() == [0, abi.CHANNEL_BYTES, 0]
    assert list(scene.ends) == [kept]
    os.close(read_only)


def test_what_is_no_end_is_a_bug_of_the_kernels(scene: Pages, looks: list[int]) -> None:
    """It is told in words, and the transaction stands: a kernel that is started again finds what it has told."""
    broken: dict[int, object] = dict.fromkeys(scene.numbers, ("no", "end"))
    scene.ends = broken  # type: ignore[assignment]
    with pytest.raises(TypeError):
        scene.revoke()
    assert sorted(scene.told()) == sorted(scene.numbers)


def test_a_client_on_the_kernels_processor_comes_first(scene: Pages, looks: list[int], pinned: int) -> None:
    """The kernel sleeps then, as short as it can."""
    scene.says_processor(scene.pages[1], pinned)
    before = given_up()
    scene.revoke()
    assert given_up() > before


def test_who_severs_others_does_not_sleep(scene: Pages, looks: list[int], pinned: int) -> None:
    scene.says_processor(scene.pages[1], pinned + 1)
    before = given_up()
    scene.revoke()
    assert given_up() == before


def given_up() -> int:
    """How often this thread has given its processor up by itself."""
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw
