"""The same stack without a system around it: two of them in one process, joined by a function call each way.

A process has one lwIP, whose state is in its module. So the second stack is a copy of the module's file, which the
loader takes for another one. One thread sends, hands frames over, and receives; frames are handed over where the stack
does not run, as it wants it.
"""

from __future__ import annotations

import importlib.util
import shutil
import time
from collections import deque
from collections.abc import Callable
from importlib.machinery import ExtensionFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

from bench.stream import PIECE_BYTES, PORT
from servers.network import _lwip, stack

ADDRESSES = ("10.3.0.1", "10.3.0.2")
WAIT_SECONDS = 10.0


class OneProcess:
    """A connection between two stacks of this process, both with interfaces of this MTU.

    Args:
        folder: where the modules' copies are.
    """

    def __init__(self, folder: Path, mtu: int) -> None:
        first, second = (_stack(folder, f"{mtu}-{number}") for number in range(2))
        self._stacks = first, second
        self._going: tuple[deque[bytes], deque[bytes]] = deque(), deque()
        for number, (made, going) in enumerate(zip(self._stacks, self._going, strict=True)):
            interface = made.add_interface(bytes((2, 0, 0, 0, 3, number + 1)), mtu, going.append)
            interface.set_up(True)
            interface.add_address(f"{ADDRESSES[number]}/24")
        self._piece = bytes(range(256)) * (PIECE_BYTES // 256)
        listener = second.stream(4)
        listener.bind("0.0.0.0", PORT)
        listener.listen(1)
        self._from = first.stream(4)
        self._from.connect(ADDRESSES[1], PORT)
        accepted: list[Any] = []
        self._until(lambda: accepted.append(listener.accept()) or accepted[-1] is not None)  # type: ignore[func-returns-value]
        self._to = accepted[-1]
        self._until(lambda: self._from.writable)

    def turn(self, total: int) -> Callable[[], float]:
        """Sends so many bytes, and returns the seconds until the other side has had the last."""

        def timed() -> float:
            piece, sender, receiver, (first, second) = self._piece, self._from, self._to, self._stacks
            left = awaited = total
            part: bytes | memoryview = b""
            start = time.perf_counter()
            sender.set_prompt(False)
            while awaited:
                while left:
                    if not part and left <= len(piece):
                        sender.set_prompt(True)
                    part = part or piece[:left]
                    sent = sender.send(part)
                    left -= sent
                    if sent < len(part):
                        part = memoryview(part)[sent:]
                        break
                    part = b""
                first.poll()
                self._carry()
                while data := receiver.recv(PIECE_BYTES):
                    awaited -= len(data)
                second.poll()
                self._carry()
            return time.perf_counter() - start

        return timed

    def _carry(self) -> None:
        """What each has sent comes to the other."""
        for going, target in zip(self._going, reversed(self._stacks), strict=True):
            while going:
                target.input(going.popleft())

    def _until(self, done: Callable[[], bool]) -> None:
        end = time.monotonic() + WAIT_SECONDS
        while not done():
            if time.monotonic() > end:
                raise TimeoutError("the two stacks of one process do not find each other")
            for each in self._stacks:
                each.poll()
            self._carry()


def _stack(folder: Path, name: str) -> Any:
    """A stack with a state of its own."""
    assert _lwip.__file__ is not None  # it was built
    assert stack.__file__ is not None
    path = folder / f"lwip-{name}.so"
    shutil.copy(_lwip.__file__, path)
    made = _loaded(importlib.util.spec_from_file_location(f"bench.network.stack_{name}", stack.__file__))
    loader = ExtensionFileLoader("servers.network._lwip", str(path))
    made._lwip = _loaded(importlib.util.spec_from_loader(loader.name, loader))  # type: ignore[attr-defined]
    return made.Stack()


def _loaded(spec: Any) -> ModuleType:
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
