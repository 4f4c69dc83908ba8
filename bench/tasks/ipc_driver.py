"""Takes orders from the console, one a line, and answers each with a line of JSON that begins with ``@``.

prepare                       connects everything; how many clients there are
call S                        calls of four words for S seconds              seconds a call
calls N                       N of them                                      seconds a call
asleep N US                   N of them, each after a pause of US            median seconds a call
bytes S SIZE                  messages of SIZE bytes there and back          seconds a call
add S, object S W             interface calls                                seconds a call
signal S SIZE                 signals, SIZE by one call                      seconds a signal
load COUNT SERVER S           COUNT clients call SERVER for S seconds        calls of each
revoke N SERVER               revokes a channel to it, in use, N times       seconds to the peer's refusal, each
revoke_many CLIENTS COUNT     revokes COUNT live channels of each client     seconds in all
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from bench.tasks import channel, revoking
from bench.tasks.load import Load
from bench.tasks.service import OBJECTS, Service
from bench.tasks.waiter import STOP, Waiter
from bench.timing import seconds_after_pause, seconds_per_call
from libsel4py import Component, component, uses
from libsel4py.abi import MESSAGE_REGISTERS, WORD_BYTES, ObjectType, Rights, message_info
from libsel4py.capabilities import Endpoint, Notification
from libsel4py.interfaces.console import Console
from libsel4py.lowlevel.syscalls import machine

Answer = dict[str, object]
START_SECONDS = 0.05  # for all clients of a crowd to have heard of it
START_SECONDS_EACH = 0.0005


@component
class Main(Component):
    """Measures."""

    console = uses(Console)
    service = uses(Service)
    waiter = uses(Waiter)

    def run(self) -> int:
        self._clients: list[Load] = []
        orders: dict[str, Callable[..., Answer]] = {
            "prepare": self._prepare,
            "call": self._call,
            "calls": self._calls,
            "asleep": self._asleep,
            "bytes": self._bytes,
            "add": self._add,
            "object": self._object,
            "signal": self._signal,
            "load": self._load,
            "revoke": self._revoke,
            "revoke_many": self._revoke_many,
        }
        while True:
            name, *arguments = self.console.read_line("", echo=False).split()
            if name == "end":
                return 0
            answer = orders[name](*arguments)
            self.console.write("@" + json.dumps(answer) + "\n")

    def _prepare(self) -> Answer:
        connections = self.task.environment.connections
        self._clients = [getattr(self.uses, name) for name in connections if name.startswith("client")]
        for client in self._clients:
            client.connect()
        for name in ("null", "mirror"):
            machine.call(connections[name].cptr, message_info(1, 4), 1, 2, 3, 4)  # who answers takes channels by then
            channel.connect(self.task, Endpoint(connections[name].cptr))
        return {"clients": len(self._clients)}

    def _null_calls(self) -> Callable[[int], None]:
        call = machine.call
        null = self.task.environment.connections["null"].cptr
        info = message_info(1, 4)

        def calls(count: int) -> None:
            for _ in range(count):
                call(null, info, 1, 2, 3, 4)

        return calls

    def _call(self, seconds: str) -> Answer:
        return {"seconds": seconds_per_call(self._null_calls(), float(seconds))}

    def _calls(self, count: str) -> Answer:
        calls, start = self._null_calls(), time.perf_counter()
        calls(int(count))
        return {"seconds": (time.perf_counter() - start) / int(count)}

    def _asleep(self, count: str, pause_us: str) -> Answer:
        calls = self._null_calls()
        return {"seconds": seconds_after_pause(lambda: calls(1), int(count), int(pause_us) / 1e6)}

    def _bytes(self, seconds: str, size: str) -> Answer:
        call, write, read = machine.call, machine.message_write, machine.message_read
        mirror = self.task.environment.connections["mirror"].cptr
        words = int(size) // WORD_BYTES
        info, more = message_info(1, words), words - MESSAGE_REGISTERS
        data = bytes(max(0, more) * WORD_BYTES)

        def short(count: int) -> None:
            for _ in range(count):
                call(mirror, info, 1, 2, 3, 4)

        def long(count: int) -> None:
            for _ in range(count):
                write(MESSAGE_REGISTERS, data)
                call(mirror, info, 1, 2, 3, 4)
                read(MESSAGE_REGISTERS, more)

        return {"seconds": seconds_per_call(long if more > 0 else short, float(seconds))}

    def _add(self, seconds: str) -> Answer:
        add = self.service.add

        def calls(count: int) -> None:
            for _ in range(count):
                add(1, 2)

        return {"seconds": seconds_per_call(calls, float(seconds))}

    def _object(self, seconds: str, which: str) -> Answer:
        method, given = OBJECTS[which]
        send = getattr(self.service, method)

        def calls(count: int) -> None:
            for _ in range(count):
                send(given)

        return {"seconds": seconds_per_call(calls, float(seconds))}

    def _signal(self, seconds: str, size: str) -> Answer:
        """To a notification of our own, on which the waiter waits meanwhile."""
        task, count = self.task, int(size)
        notification = Notification(task.memory.allocate(ObjectType.NOTIFICATION).start)
        bit, stop = Notification(task.slots.allocate()), Notification(task.slots.allocate())
        task.cnode.mint(bit.cptr, task.cnode, notification.cptr, 1, rights=Rights.WRITE)
        task.cnode.mint(stop.cptr, task.cnode, notification.cptr, STOP, rights=Rights.WRITE)
        self.waiter.wait(notification)
        opened = channel.connect(task, bit)
        took = seconds_per_call(_signals(bit.cptr, count), float(seconds)) / count
        stop.signal()
        woken = self.waiter.woken()
        channel.disconnect(task, bit, opened)
        for capability in (bit, stop):
            task.delete(capability)
        task.memory.free(notification.cptr)
        return {"seconds": took, "woken": woken}

    def _load(self, count: str, server: str, seconds: str) -> Answer:
        """All begin at one time. If that has passed before the last has heard of it, once more, with a later one."""
        clients = self._clients[: int(count)]
        lead = int((START_SECONDS + START_SECONDS_EACH * len(clients)) * 1e9)
        while True:
            start = time.perf_counter_ns() + lead
            for client in clients:
                client.begin(server, start, start + int(float(seconds) * 1e9))
            in_time = time.perf_counter_ns() < start
            calls = [client.calls() for client in clients]
            if in_time:
                return {"calls": calls}
            lead *= 2

    def _revoke(self, count: str, server: str) -> Answer:
        return revoking.one_by_one(self.task, self._clients[0], server, int(count))

    def _revoke_many(self, clients: str, count: str) -> Answer:
        return revoking.many(self.task, self._clients[: int(clients)], int(count))


def _signals(cptr: int, size: int) -> Callable[[int], None]:
    """What makes so many batches of signals."""
    many, cptrs = machine.signal_many, [cptr] * size

    def signals(count: int) -> None:
        for _ in range(count):
            many(cptrs)

    return signals
