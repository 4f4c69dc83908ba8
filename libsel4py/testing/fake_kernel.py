"""A kernel for unit tests: one capability space, endpoints, reply objects and notifications in plain Python.

It stands where `hw.cpu` stands, so everything above the trap is the real SDK: packing, dispatch, server loop,
deferred replies. It keeps seL4's meaning of the system calls for one CSpace and leaves out rights, priorities,
scheduling and faults; kernel objects are in `fake_objects`.

Rules: threads are real, and wait on one condition. Nobody sleeps or polls. A wait that no time-out ends gives up
after `patience` seconds with an error that says what it waited for, so that a wrong test fails and does not hang.
"""

from __future__ import annotations

import struct
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from libsel4py import abi
from libsel4py.abi import MESSAGE_REGISTERS, Error, Status, Syscall
from libsel4py.environment import Slot
from libsel4py.lowlevel.syscalls import BatchEntry, Completion, ThreadEntry, TrapArguments
from libsel4py.testing.byte_messages import ByteMessages
from libsel4py.testing.fake_areas import Area
from libsel4py.testing.fake_channels import FakeChannels
from libsel4py.testing.fake_objects import FakeCap, FakeChannel, FakeEndpoint, FakeNotification, FakeReply, Request

PATIENCE: Final = 10.0  # seconds
_RECEIVES: Final = (Syscall.RECV, Syscall.NB_RECV, Syscall.WAIT, Syscall.NB_WAIT)


class FakeKernel(ByteMessages, FakeChannels):
    """A `Cpu` without a machine. Make objects with `objects`, then use the SDK's classes on their slots."""

    def __init__(self, patience: float = PATIENCE) -> None:
        super().__init__()
        self.explanation = ""
        self.system_calls: list[int] = []
        self.thread_entry: ThreadEntry | None = None
        self._patience = patience
        self._changed = threading.Condition(threading.RLock())
        self._taken: dict[int, Request] = {}
        self.Mapping = self.objects.space.view

    # --- the functions of hw.cpu -----------------------------------------------------------------------------

    def call(self, *arguments: int) -> Completion:
        return self.trap(Syscall.CALL, *arguments[:6], 0, 0, *arguments[6:])

    def reply_recv(self, *arguments: int) -> Completion:
        return self.trap(Syscall.REPLY_RECV, *arguments[:7], 0, *arguments[7:])

    def recv(self, cptr: int, reply: int, *timeout_ns: int) -> Completion:
        return self.trap(Syscall.RECV, cptr, 0, 0, 0, 0, 0, reply, 0, *timeout_ns)

    def trap(self, *arguments: int) -> Completion:
        op, cptr, info, _, _, _, _, reply, dest, timeout_ns = call = TrapArguments(*arguments)
        registers = call.registers
        self.system_calls.append(op)
        match op:
            case Syscall.CALL:
                channel = None if abi.info_extra_caps(info) else self._channel(cptr)
                return self._call(cptr, self._message(info, registers), timeout_ns, channel)
            case Syscall.SEND:
                return self._send(cptr, self._message(info, registers), timeout_ns)
            case Syscall.NB_SEND:
                return self._nb_send(cptr, self._message(info, registers))
            case Syscall.REPLY_RECV:
                if self._threads.area.taken is not None:
                    self.answer(self.detach(), info, *registers)
                else:
                    self._send(reply, self._message(info, registers), -1)
                return self._receive(op, cptr, reply, timeout_ns)
            case Syscall.NB_SEND_RECV | Syscall.NB_SEND_WAIT:
                self._nb_send(dest, self._message(info, registers))
                return self._receive(op, cptr, reply, timeout_ns)
            case Syscall.EXPLAIN:
                return self._explain()
            case Syscall.LISTEN:
                return self._listen(cptr)
            case Syscall.IDENTIFY:
                return (Status.DONE, 0, 3, *self.objects.identify(cptr), 0)
            case op if op in _RECEIVES:
                return self._receive(op, cptr, reply, timeout_ns)
        return (Status.DONE, 0, 0, 0, 0, 0, 0)

    def kernel_trap(self, *arguments: int) -> Completion:
        call = TrapArguments(*arguments)
        if call.op != Syscall.CALL:
            return self.trap(*arguments)
        self.system_calls.append(call.op)
        return self._call(call.cptr, self._message(call.info, call.registers), call.timeout_ns)

    def batch(self, entries: Sequence[BatchEntry], /) -> list[Completion]:
        completions = []
        for op, cptr, info, words, caps, *reply in entries:
            padded = (*words, 0, 0, 0, 0)
            self._threads.area.words[MESSAGE_REGISTERS : MESSAGE_REGISTERS + 4] = (*words[4:], 0, 0, 0, 0)[:4]
            self.set_caps(*(*caps, 0, 0, 0)[:3])
            completions.append(self.trap(op, cptr, info, *padded[:4], *reply))
        return completions

    def set_thread_entry(self, entry: ThreadEntry, /) -> None:
        self.thread_entry = entry

    def channel_listen(self, cptr: int, /) -> None:
        """What there is to do is done by LISTEN."""

    def detach(self) -> int:
        request, self._threads.area.taken = self._threads.area.taken, None
        if request is None:
            return 0
        self._taken[id(request)] = request
        return id(request)

    def answer(self, handle: int, info: int, mr0: int, mr1: int, mr2: int, mr3: int, /) -> bool:
        with self._changed:
            message = self._message(info, (mr0, mr1, mr2, mr3))
            request = self._taken.pop(handle, None)
            if request is not None:
                request.answer = Request(message.label, message.words, ())
                self._changed.notify_all()
            return request is not None

    def signal_many(self, cptrs: Sequence[int], /) -> None:
        for cptr in cptrs:
            self._send(cptr, Request(0, (), ()), -1)

    # --- what tests do -----------------------------------------------------------------------------------------

    def attend(self, endpoint: FakeEndpoint, step: Callable[[], object]) -> None:
        """Let ``step`` (which answers one waiting message) run in the caller's thread when a message waits."""
        area = Area()

        def run() -> None:
            with self._on_area(area):
                step()

        endpoint.step = run

    def signal(self, badge: int, slot: int = Slot.NOTIFICATION) -> None:
        """Signal a notification as if by a capability with this badge, and let inline servers see it."""
        with self._changed:
            notification = self.objects.caps[slot].object
            assert isinstance(notification, FakeNotification)
            notification.word |= badge
            self._changed.notify_all()
        for endpoint in self.objects.endpoints():
            self._attend_to(endpoint, signal=True)

    def end_taken(self) -> None:
        """End all detached requests by channel as the death of their server does."""
        with self._changed:
            for request in self._taken.values():
                request.died = True
            self._taken.clear()
            self._changed.notify_all()

    def end_life(self, endpoint: FakeEndpoint) -> None:
        """End the calls that a server has taken and not answered, as its death does."""
        with self._changed:
            for request in endpoint.taken:
                request.died = request.answer is None
            endpoint.taken.clear()
            self._changed.notify_all()

    def wait_for_senders(self, endpoint: FakeEndpoint, count: int) -> None:
        """Wait until ``count`` messages wait at an endpoint that nobody attends to."""
        with self._changed:
            self._wait(lambda: len(endpoint.queue) >= count, -1, f"{count} senders at an endpoint")

    # --- inside ------------------------------------------------------------------------------------------------

    def _listen(self, cptr: int) -> Completion:
        """Listeners are counted, and none is forgotten: who has listened once is one for this fake."""
        cap = self.objects.caps.get(cptr)
        if cap is not None and isinstance(cap.object, FakeEndpoint | FakeNotification):
            cap.object.listeners += 1
            return self._deliver(Request(Error.NO_ERROR, (cap.object.listeners,), ()), 0)
        return self._deliver(Request(Error.INVALID_CAPABILITY if cptr else Error.NO_ERROR, (0,), ()), 0)

    def _call(self, cptr: int, request: Request, timeout_ns: int, channel: FakeChannel | None = None) -> Completion:
        if channel is not None:
            request.by_channel = True
            self._threads.calls += 1
        cap = self.objects.caps.get(cptr)
        if cap is None or not isinstance(cap.object, FakeEndpoint):
            return self._invoke(cap, request)
        with self._changed:
            request.badge, request.is_call = cap.badge, True
            cap.object.queue.append(request)
            self._changed.notify_all()
        self._attend_to(cap.object)
        with self._changed:
            if not self._wait(
                lambda: request.died or request.answer is not None, timeout_ns, f"an answer to label {request.label}"
            ):
                self._withdraw(cap.object.queue, request)
                return (Status.CANCELLED, 0, 0, 0, 0, 0, 0)
            if request.died:
                return (Status.SERVER_DIED, 0, 0, 0, 0, 0, 0)
            assert request.answer is not None
            return self._deliver(request.answer, 0)

    def _invoke(self, cap: FakeCap | None, request: Request) -> Completion:
        """An object's method; whoever it has told of a death sees that."""
        with self._changed:
            code, words = self.objects.invoke(cap, request)
            rang, self.objects.rang = self.objects.rang, False
            if rang:
                self._changed.notify_all()
        if rang:
            for endpoint in self.objects.endpoints():
                self._attend_to(endpoint, signal=True)
        return self._deliver(Request(code, words, ()), 0)

    def _send(self, cptr: int, request: Request, timeout_ns: int) -> Completion:
        with self._changed:
            cap = self.objects.caps.get(cptr)
            match cap:
                case FakeCap(object=FakeReply() as reply):
                    # The server goes on at once, and may put something else into these slots.
                    request.held = tuple(self.objects.caps.get(each) for each in request.caps)
                    if reply.caller is not None:
                        reply.caller.answer, reply.caller = request, None
                case FakeCap(object=FakeNotification() as notification, badge=badge):
                    notification.word |= badge
                case FakeCap(object=FakeEndpoint() as endpoint, badge=badge):
                    request.badge = badge
                    endpoint.queue.append(request)
            self._changed.notify_all()
        if cap is not None and isinstance(cap.object, FakeEndpoint):
            self._attend_to(cap.object)
            with self._changed:
                if not self._wait(lambda: request.taken, timeout_ns, "a receiver"):
                    self._withdraw(cap.object.queue, request)
                    return (Status.CANCELLED, 0, 0, 0, 0, 0, 0)
        return (Status.DONE, 0, 0, 0, 0, 0, 0)

    def _nb_send(self, cptr: int, request: Request) -> Completion:
        cap = self.objects.caps.get(cptr)
        if cap is not None and isinstance(cap.object, FakeEndpoint) and not cap.object.receivers:
            return (Status.DONE, 0, 0, 0, 0, 0, 0)
        return self._send(cptr, request, -1)

    def _receive(self, op: int, cptr: int, reply: int, timeout_ns: int) -> Completion:
        polls = op in (Syscall.NB_RECV, Syscall.NB_WAIT)
        with self._changed:
            cap = self.objects.caps.get(cptr)
            if cap is None or not isinstance(cap.object, FakeEndpoint | FakeNotification):
                raise RuntimeError(f"slot {cptr} holds {cap}, on which nobody can receive")
            source = cap.object
            bound = self._bound(source)

            def ready() -> bool:
                return bool((bound and bound.word) or (isinstance(source, FakeEndpoint) and source.queue))

            if isinstance(source, FakeEndpoint):
                source.receivers += 1
                self._changed.notify_all()
            try:
                if not ready() and (polls or not self._wait(ready, timeout_ns, f"a message at slot {cptr}")):
                    return (Status.EMPTY if polls else Status.CANCELLED, 0, 0, 0, 0, 0, 0)
            finally:
                if isinstance(source, FakeEndpoint):
                    source.receivers -= 1
            if bound is not None and bound.word:
                badge, bound.word = bound.word, 0
                return (Status.DONE, badge, 0, 0, 0, 0, 0)
            assert isinstance(source, FakeEndpoint)
            return self._take(source.queue.popleft(), source, reply)

    def _bound(self, source: FakeEndpoint | FakeNotification) -> FakeNotification | None:
        if isinstance(source, FakeNotification):
            return source
        cap = self.objects.caps.get(Slot.NOTIFICATION)
        return cap.object if cap is not None and isinstance(cap.object, FakeNotification) else None

    def _take(self, request: Request, source: FakeEndpoint, reply: int) -> Completion:
        request.taken = True
        if request.is_call:
            source.taken = [each for each in source.taken if each.answer is None]
            source.taken.append(request)
        self._threads.area.taken = request if request.by_channel else None
        if request.by_channel:
            self._threads.requests += 1
        elif request.is_call:
            cap = self.objects.caps.get(reply)
            if cap is None or not isinstance(cap.object, FakeReply):
                raise RuntimeError(f"slot {reply} holds no reply object: this call could not be answered")
            cap.object.caller = request
        self._changed.notify_all()
        return self._deliver(request, request.badge, source)

    def _attend_to(self, endpoint: FakeEndpoint, signal: bool = False) -> None:
        """Let an inline server answer what waits, unless it is running already (then it will see the message)."""
        while True:
            with self._changed:
                if endpoint.step is None or endpoint.busy or not (endpoint.queue or signal):
                    return
                endpoint.busy = True
            try:
                endpoint.step()
            finally:
                with self._changed:
                    endpoint.busy = False
            signal = False

    def _wait(self, condition: Callable[[], bool], timeout_ns: int, what: str) -> bool:
        if timeout_ns >= 0:
            return self._changed.wait_for(condition, timeout_ns / 1e9)
        if not self._changed.wait_for(condition, self._patience):
            raise RuntimeError(f"waited {self._patience} s for {what}: a server deferred, or nobody serves")
        return True

    @staticmethod
    def _withdraw(queue: deque[Request], request: Request) -> None:
        if request in queue:
            queue.remove(request)

    def _explain(self) -> Completion:
        data = self.explanation.encode()
        words = [len(data), *struct.unpack(f"<{(len(data) + 7) // 8}Q", data + bytes(-len(data) % 8))]
        return self._deliver(Request(Error.NO_ERROR, tuple(words), ()), 0)
