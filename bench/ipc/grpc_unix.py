"""gRPC over a Unix socket."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor

from bench.ipc.stand import Calls, fork


class Unary:
    """A unary call whose messages are bytes: nothing is packed. The library is loaded behind the fork, as it wants."""

    def __init__(self) -> None:
        address = f"unix-abstract:sel4py-bench-{os.getpid()}"  # no file stays behind
        self.server = fork(lambda: self._serve(address))
        import grpc

        self._call = grpc.insecure_channel(address).unary_unary("/bench/echo")
        self._call(b"", wait_for_ready=True)

    @staticmethod
    def _serve(address: str) -> None:
        import grpc

        server = grpc.server(ThreadPoolExecutor(max_workers=1))
        handler = grpc.unary_unary_rpc_method_handler(lambda request, context: request)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bench", {"echo": handler}),))
        server.add_insecure_port(address)
        server.start()
        threading.Event().wait()

    def calls(self, size: int) -> Calls:
        call, data = self._call, bytes(size)

        def calls(count: int) -> None:
            for _ in range(count):
                call(data)

        return calls
