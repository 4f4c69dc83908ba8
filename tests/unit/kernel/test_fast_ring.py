"""A network interface's turn right behind its driver's notification, in C: what it does, and what it leaves to Python.

The interface lies in a RAM of its own here: whose doorbell has it move its frames is no matter to it.
"""

from __future__ import annotations

import ctypes
import os
import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from hw import _net
from hw.devices.block import Block
from hw.devices.bus import IoBus
from hw.devices.virtio_registers import Register
from hw.iommu import Iommu
from hw.ram import Interrupted
from kerneld import _fastpath, layout
from kerneld.outbox import Message, Tell
from libsel4py import abi
from libsel4py.abi import Label, Syscall
from tests.harness import Machine
from tests.unit.hw.test_net import RX, TX, System, frame
from tests.unit.kernel.test_fast_port import BELL, LIVE, NUMBER, PORT, issue

NO_INTERRUPTS = b"\1\0"


class Scene:
    """A thread that may ring, and an interface that has buffers, and a driver that wants no interrupts."""

    def __init__(self) -> None:
        self.machine = machine = Machine(check=False)
        port = Iommu(machine.ram).port(NUMBER)
        address = layout.DEVICE_RECORDS + NUMBER * layout.DEVICE_RECORD_BYTES
        device = Block(machine.ram, address, NUMBER, PORT, 6, port, 64)  # whatever device: a doorbell is asked for
        machine.ports = bus = IoBus(machine.ram, [device])
        bus.set_kick(lambda number: machine.kernel.outbox.tell(Tell.DEVICE, number))
        machine.kernel = machine.new_kernel(type(machine.kernel))
        with machine.ram.transaction():
            device.state.status = LIVE
        self.port = issue(machine, PORT, PORT + 0x1FF)
        self.bell = os.eventfd(1, os.EFD_NONBLOCK)
        self.net = net = System(keeps=True)
        net.transmit(frame(0), 7)
        net.buffers(4)
        net.turns()
        for queue in (RX, TX):
            net.guest.write(queue * 0x4000 + 0x1000, NO_INTERRUPTS)
        net.guest.set(Register.INTERRUPT_ACK, 3)
        assert net.there.recv(2000) == frame(0)
        net.guest.bus.set_kick(lambda number: None)

    def ring(self) -> None:
        root, known = self.machine.root, self.machine.kernel.fast_layout
        assert known is not None
        root.submit(Syscall.CALL, self.port, abi.message_info(Label.IO_PORT_OUT32, 2), (BELL, 0))
        kicked = {NUMBER: self.net.frames.kicked_in_c}
        arguments = (root.tcb.trap_frame, root.tcb.address, self.bell, True, {}, None, kicked)
        assert _fastpath.hear(self.machine.ram, known, *arguments) == (1, 0)

    def left(self) -> list[Message]:
        """What Python has to do."""
        return [message for message in self.machine.kernel.outbox if message.kind is not Tell.DELIVER]

    def sent(self) -> list[bytes]:
        found = []
        with suppress(BlockingIOError):
            while True:
                found.append(self.net.there.recv(2000))
        return found

    def close(self) -> None:
        self.net.close()
        os.close(self.bell)


@pytest.fixture
def scene() -> Iterator[Scene]:
    made = Scene()
    yield made
    made.close()


def test_what_was_offered_is_sent_at_once(scene: Scene) -> None:
    frames = [frame(number, 60 + number) for number in range(3)]
    for head, each in enumerate(frames):
        scene.net.transmit(each, head)
    scene.ring()
    assert scene.sent() == frames
    assert scene.net.used(TX) == 4
    assert len(scene.machine.kernel.outbox) == 0
    assert scene.machine.root.completion() is not None
    assert scene.net.works() == 0


def wants_interrupts(scene: Scene) -> None:
    scene.net.guest.write(0x4000 + 0x1000, b"\0\0")


def has_no_buffers(scene: Scene) -> None:
    for number in range(4):
        scene.net.there.send(frame(number))
    scene.net.turns(12)


def loses(scene: Scene) -> None:
    scene.net.frames.lose_next(1)


def is_unmapped(scene: Scene) -> None:
    scene.net.guest.iommu.forget()


def is_reset(scene: Scene) -> None:
    scene.net.guest.set(Register.STATUS, 0)


@pytest.mark.parametrize(
    ("prepare", "sent"),
    [(wants_interrupts, True), (has_no_buffers, True), (loses, False), (is_unmapped, False), (is_reset, False)],
)
def test_what_is_left_is_told(scene: Scene, prepare: Callable[[Scene], None], sent: bool) -> None:
    """And the driver has its answer all the same."""
    prepare(scene)
    scene.net.transmit(frame(1))
    scene.ring()
    assert scene.left() == ([] if prepare is has_no_buffers else [Message(Tell.DEVICE, NUMBER)])
    assert scene.sent() == ([frame(1)] if sent else [])
    assert scene.machine.root.completion() is not None
    scene.net.frames.kicked()
    scene.net.turns()
    assert scene.sent() == ([frame(1)] if prepare is is_unmapped else [])


def test_a_full_link_is_left_and_nothing_is_lost(scene: Scene) -> None:
    frames = []
    while not scene.left():
        frames.append(frame(len(frames), 1400))
        scene.net.transmit(frames[-1], len(frames) % 4)
        scene.ring()
        assert scene.machine.root.completion() is not None
    got = scene.sent()
    assert 1 < len(got) == len(frames) - 1
    scene.net.frames.kicked()
    scene.net.turns(12)
    assert got + scene.sent() == frames


@pytest.mark.parametrize("made", [False, True])
def test_a_kernel_killed_at_any_store_of_the_turn_is_told_of_it(made: bool) -> None:
    killed = 0
    while True:
        scene = Scene()
        try:
            scene.net.transmit(frame(1))
            ram = scene.net.guest.ram
            ram.interrupt_at(killed, made)
            try:
                scene.ring()
            except Interrupted:
                assert scene.left() == [Message(Tell.DEVICE, NUMBER)]
                ram.recover()
                scene.net.frames.close()
                scene.net.attach()
                scene.net.turns()
                assert set(scene.sent()) == {frame(1)}  # once or twice
                assert scene.net.used(TX) == 2
                killed += 1
                continue
            assert scene.sent() == [frame(1)]
            assert killed > 3
            return
        finally:
            scene.close()


def test_a_driver_whose_turns_are_long_does_not_keep_python_from_its_work(scene: Scene) -> None:
    """It rings before the last turn is over, each time with as much as a turn moves."""
    root, known, ram = scene.machine.root, scene.machine.kernel.fast_layout, scene.machine.ram
    assert known is not None
    turns: list[int] = []

    def turn(back_end: int, reads: bool) -> int:
        turns.append(back_end)
        time.sleep(0.001)
        return _net.MOVED

    kept = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_bool)(turn)
    back_end, name = (ctypes.c_void_p * 1)(ctypes.cast(kept, ctypes.c_void_p)), ctypes.c_char_p(b"hw.kicked")
    capsule = ctypes.pythonapi.PyCapsule_New
    capsule.restype, capsule.argtypes = ctypes.py_object, (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
    kicked = {NUMBER: capsule(ctypes.addressof(back_end), name, None)}
    for _ in range(8):
        root.submit(Syscall.CALL, scene.port, abi.message_info(Label.IO_PORT_OUT32, 2), (BELL, 0))
    frame = root.tcb.trap_frame
    for rung in range(1, 9):
        rings = array("Q", (frame, root.tcb.consumed, root.tcb.address, 1))
        found, _, taken, _ = _fastpath.serve(ram, known, rings, 0, 0, array("Q", (0,)), {}, None, kicked)
        assert (found, taken, len(turns), len(scene.machine.kernel.outbox)) == (-1, 1, rung, 0)


def test_what_is_no_back_end_is_refused(scene: Scene) -> None:
    root, known = scene.machine.root, scene.machine.kernel.fast_layout
    assert known is not None
    for kicked in ({NUMBER: object()}, {"0": scene.net.frames.kicked_in_c}):
        arguments = (root.tcb.trap_frame, root.tcb.address, scene.bell, True, {}, None, kicked)
        with pytest.raises((TypeError, ValueError)):
            _fastpath.hear(scene.machine.ram, known, *arguments)  # type: ignore[arg-type]
