"""A disk's client that means no good: ``messages`` random ones, by ``seed``, then a line on the console."""

from __future__ import annotations

import random
from typing import Final

import msgspec

from libsel4py import Component, component, uses
from libsel4py.dataspace import DataSpace
from libsel4py.interfaces.block import Block
from libsel4py.interfaces.console import Console
from libsel4py.lowlevel.syscalls import Message
from libsel4py.wire import CONTINUE, IDENTIFY, Outcome

SIZE: Final = 1 << 16
EDGES: Final = (0, 1, 2, 4, 511, 512, 1023, 1024, 65536, 1 << 31, 1 << 32, 1 << 62, 1 << 63, (1 << 64) - 1)
LABELS: Final = {name: method.label for name, method in Block.interface_methods.items()}


@component
class Main(Component):
    disk = uses(Block)
    console = uses(Console)

    def run(self) -> int:
        configuration = self.task.environment.configuration
        self.chooser = random.Random(int(str(configuration["seed"])))
        self.buffers = [0]
        answers = [0, 0]
        self.space = DataSpace.allocate(SIZE)
        for number in range(int(str(configuration["messages"]))):
            if number % 500 == 499:  # its memory goes, and with it what the driver has of it
                self.space.close()
                self.space = DataSpace.allocate(SIZE)
            name = self.chooser.choice([*LABELS, "read", "write", "transfer", "attach", "read", "write", "strange"])
            if name == "flush" and self.chooser.random() < 0.95:  # each of them is the host's fsync
                name = "geometry"
            answer = self.disk._endpoint.call(self._message(name))
            answers[answer.label == Outcome.OK] += 1
            if name == "attach" and answer.label == Outcome.OK:
                self.buffers = [*self.buffers, answer.words[0]][-12:]
            for shared in list(self.space._shares):
                self.space.drop(shared)
        self.console.write(f"@attacked {answers[0]} refused {answers[1]} done\n")
        return 0

    def _message(self, name: str) -> Message:
        chance = self.chooser
        label = LABELS.get(name) or chance.choice((IDENTIFY, CONTINUE, 77, 1 << 51))
        strange = (self.task.vspace.cptr, self.task.cnode.cptr, self.disk._endpoint.cptr)
        if chance.random() < 0.6:
            return Message(label, self._sense(name), (self.space.share().cptr,) if name == "attach" else ())
        caps = () if chance.random() < 0.7 else (chance.choice((self.space.share().cptr, *strange)),)
        match chance.randrange(3):
            case 0:
                words = tuple(chance.choice(EDGES) for _ in range(4))
            case 1:
                words = _packed([chance.choice(self.buffers), [self._request() for _ in range(chance.randrange(40))]])
            case _:
                words = tuple(chance.randrange(1 << 64) for _ in range(chance.randrange(120)))
        return Message(label, words, caps)

    def _sense(self, name: str) -> tuple[int, ...]:
        """What could be meant."""
        chance = self.chooser
        match name:
            case "detach":
                return (chance.choice(self.buffers),)
            case "read" | "write":
                place = 512 * chance.randrange(130)
                return (chance.choice(self.buffers), place, chance.randrange(130), chance.randrange(20))
            case "transfer":
                return _packed([chance.choice(self.buffers), [self._request() for _ in range(chance.randrange(8))]])
            case _:
                return ()

    def _request(self) -> list[object]:
        chance = self.chooser
        if chance.random() < 0.05:
            return [chance.choice([None, "x", -1, 1 << 63])] * chance.randrange(5)
        return [chance.random() < 0.5, 512 * chance.randrange(130), chance.randrange(-1, 130), chance.randrange(9)]


def _packed(value: object) -> tuple[int, ...]:
    data = msgspec.msgpack.encode(value)[:900]
    return (len(data), *(int.from_bytes(data[at : at + 8], "little") for at in range(0, len(data), 8)))
