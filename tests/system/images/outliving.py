"""A task whose threads all wait for their pager when that dies. Ends with 0 if all found what they should."""

from __future__ import annotations

import ctypes
import queue

from libsel4py import Component, aio, component
from libsel4py.abi import VMFault
from libsel4py.environment import PAGED_ADDRESS
from libsel4py.mapping import map_memory
from tests.system.images.holding_pager import ANSWERED, PAGE

CONTENTS = bytes(range(16)) * 4  # what the store has everywhere


@component
class Main(Component):
    def run(self) -> int:
        settings = self.task.environment.configuration
        self.memory = map_memory(PAGED_ADDRESS, self.task.environment.paged_bytes, True)
        with memoryview(self.memory) as view:
            for page in range(ANSWERED):
                view[page * PAGE : page * PAGE + 6] = b"kept %d" % page
        look = self.guarded if settings["access"] == "guarded" else self.ordinary
        found: queue.SimpleQueue[bool] = queue.SimpleQueue()
        for number in range(1, ANSWERED):
            aio.workers.submit(lambda number=number: found.put(look(number)))  # type: ignore[misc]
        seen = [look(0), *(found.get() for _ in range(1, ANSWERED))]
        if settings["access"] == "ordinary":
            seen += [self.memory.read(page * PAGE, 6) == b"kept %d" % page for page in range(ANSWERED)]
        self.log.info("seen: %s", seen)
        return 0 if all(seen) else 1

    def ordinary(self, number: int) -> bool:
        """An instruction of the C library's, without the GIL: all threads fault at once."""
        seen = ctypes.create_string_buffer(len(CONTENTS))
        ctypes.memmove(seen, PAGED_ADDRESS + (ANSWERED + number) * PAGE, len(CONTENTS))
        return seen.raw == CONTENTS

    def guarded(self, number: int) -> bool:
        try:
            self.memory.read((ANSWERED + number) * PAGE, 1)
        except VMFault:
            return True
        return False
