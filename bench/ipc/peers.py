"""Which peers there are, and how each is started."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench.ipc.compiled import compile_program, compiler
from bench.ipc.peer import TRIAL_SECONDS, Peer, python
from bench.ipc.placement import Placement

INSTALL = "pip install -e '.[bench]'"
NULL_BYTES = 32  # four words
RECORD = "record"


@dataclass(frozen=True, slots=True)
class Kind:
    """A peer. ``needs`` is a module that has to be installed; ``program`` says that it is `pingpong.c`."""

    name: str
    arguments: tuple[str, ...]
    needs: str = ""
    program: bool = False

    def missing(self) -> str:
        """Why it cannot take part; empty if it can."""
        if self.program and compiler() is None:
            return f"{self.name}: there is no C compiler (cc)"
        if self.needs and importlib.util.find_spec(self.needs) is None:
            return f"{self.name}: not installed: {INSTALL}"
        return ""

    def command(self, programs: Path) -> Sequence[str]:
        if self.program:
            return [str(programs / "pingpong"), *self.arguments]
        return python("stand", *self.arguments)


NULL = Kind("os.getppid()", ("standard", "NullSystemCall"))
SPIN = Kind("C, both spin", ("spin",), program=True)
FUTEX = Kind("C, futex", ("futex",), program=True)
WAKING = Kind("C, futex, client spins", ("waking",), program=True)
OS_PIPE = Kind("os.pipe", ("standard", "OsPipe"))
PIPE = Kind("multiprocessing.Pipe", ("standard", "Pipe"))
PIPE_BYTES = Kind("multiprocessing.Pipe, bytes", ("standard", "PipeBytes"))
QUEUE = Kind("multiprocessing.Queue", ("standard", "Queue"))
ZMQ = Kind("pyzmq REQ/REP ipc://", ("pyzmq", "RequestReply"), needs="zmq")
ICEORYX = Kind("iceoryx2, busy polling", ("iceoryx", "Fixed"), needs="iceoryx2")
SLICES = Kind("iceoryx2, busy polling, bytes", ("iceoryx", "Slices"), needs="iceoryx2")
GRPC = Kind("gRPC over a Unix socket", ("grpc_unix", "Unary"), needs="grpc")

KINDS = (NULL, SPIN, FUTEX, WAKING, OS_PIPE, PIPE, PIPE_BYTES, QUEUE, ZMQ, ICEORYX, SLICES, GRPC)
CURVES = (SPIN, FUTEX, OS_PIPE, PIPE_BYTES, QUEUE, ZMQ, SLICES, GRPC)


class Peers:
    """All peers that this host has, started. ``placements`` is where a trial found each to be fastest."""

    def __init__(self, stack: ExitStack, programs: Path) -> None:
        self.missing = [reason for kind in KINDS if (reason := kind.missing())]
        if compiler() is not None:
            compile_program("pingpong", programs)
        self._running = {
            kind: stack.enter_context(Peer(kind.command(programs))) for kind in KINDS if not kind.missing()
        }
        self.placements: dict[Kind, Placement] = {}

    def __contains__(self, kind: Kind) -> bool:
        return kind in self._running

    def calibrate(self) -> None:
        """Try every peer in every placement."""
        for kind, peer in self._running.items():
            self.placements[kind] = peer.best_placement(f"time {TRIAL_SECONDS} {NULL_BYTES}")

    def round_trip(self, kind: Kind, seconds: float, size: int = NULL_BYTES, where: Placement | None = None) -> float:
        """Seconds of one; in the best placement unless another is asked for."""
        return self._order(kind, f"time {seconds} {size}", where)

    def object(self, kind: Kind, seconds: float, which: str) -> float:
        """Seconds of a round trip with one of `bench.tasks.service.OBJECTS`."""
        return self._order(kind, f"object {seconds} {which}", None)

    def after_pause(self, kind: Kind, count: int, pause_us: int) -> float:
        """Median seconds of a round trip with a server that sleeps on another processor. Of `pingpong.c` alone."""
        return self._order(kind, f"pause {count} {pause_us * 1000}", Placement.SPLIT)

    def _order(self, kind: Kind, order: str, where: Placement | None) -> float:
        peer = self._running[kind]
        peer.place(where or self.placements[kind])
        return peer.order(order)[0]
