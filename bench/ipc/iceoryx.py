"""iceoryx2's Python binding: two publish-subscribe services, both sides look without a pause until something is there.

Publish-subscribe and not request-response, because it takes less of the processor's time in Python.
"""

from __future__ import annotations

import ctypes
import os
from typing import Any

from bench.ipc.stand import Calls, fork

LONGEST = 960


class Words(ctypes.Structure):
    """Six words: what a null call carries."""

    _fields_ = (("words", ctypes.c_uint64 * 6),)


class Fixed:
    """Messages of a fixed type, `Words`: the fastest that the binding offers."""

    def __init__(self) -> None:
        name = f"sel4py-bench-{type(self).__name__}-{os.getpid()}"
        self.server = fork(lambda: self._serve(name))
        self._node, self._publisher, self._subscriber = self._connect(f"{name}-there", f"{name}-back")
        while not self._reaches_server():
            pass

    @staticmethod
    def _payload() -> Any:
        return Words

    def _connect(self, to: str, back: str) -> tuple[Any, Any, Any]:
        import iceoryx2

        iceoryx2.set_log_level(iceoryx2.LogLevel.Error)
        builder = iceoryx2.NodeBuilder.new().signal_handling_mode(iceoryx2.SignalHandlingMode.Disabled)
        node = builder.create(iceoryx2.ServiceType.Ipc)

        def service(name: str) -> Any:
            builder = node.service_builder(iceoryx2.ServiceName.new(name))
            return builder.publish_subscribe(self._payload()).open_or_create()

        return node, self._publisher_of(service(to)), service(back).subscriber_builder().create()

    @staticmethod
    def _publisher_of(service: Any) -> Any:
        return service.publisher_builder().create()

    def _reaches_server(self) -> bool:
        """Whether a message comes back: what is published before the other side is there is lost."""
        self._send(self._publisher, self._message(48))
        for _ in range(1000):
            if (sample := self._subscriber.receive()) is not None:
                sample.delete()
                return True
        return False

    def _serve(self, name: str) -> None:
        _node, publisher, subscriber = self._connect(f"{name}-back", f"{name}-there")
        receive, take, send = subscriber.receive, self._take, self._send
        while True:
            if (sample := receive()) is not None:
                send(publisher, take(sample))
                sample.delete()

    @staticmethod
    def _message(size: int) -> Any:
        return Words()

    @staticmethod
    def _send(publisher: Any, message: Any) -> None:
        publisher.send_copy(message)

    @staticmethod
    def _take(sample: Any) -> Any:
        return sample.payload().contents

    def calls(self, size: int) -> Calls:
        publisher, receive, send, take = self._publisher, self._subscriber.receive, self._send, self._take
        message = self._message(size)

        def calls(count: int) -> None:
            for _ in range(count):
                send(publisher, message)
                while (sample := receive()) is None:
                    pass
                take(sample)
                sample.delete()

        while (late := receive()) is not None:  # what came back after `_reaches_server` had asked again
            late.delete()
        return calls


class Slices(Fixed):
    """Messages of any length: bytes in, bytes out."""

    @staticmethod
    def _payload() -> Any:
        import iceoryx2

        return iceoryx2.Slice[ctypes.c_uint8]

    @staticmethod
    def _publisher_of(service: Any) -> Any:
        return service.publisher_builder().initial_max_slice_len(LONGEST).create()

    @staticmethod
    def _message(size: int) -> Any:
        return bytes(max(size, 1))

    @staticmethod
    def _send(publisher: Any, message: Any) -> None:
        sample = publisher.loan_slice_uninit(len(message))
        ctypes.memmove(sample.payload().data_ptr, message, len(message))
        sample.assume_init().send()

    @staticmethod
    def _take(sample: Any) -> Any:
        payload = sample.payload()
        return ctypes.string_at(payload.data_ptr, payload.number_of_elements)
