"""``python -m bench storage``: sectors through driver and device, against one process that reads the file itself."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench.booted import SYSTEMS, BootedSystem
from bench.report import Report
from bench.rounds import Goal, Series, interleave, ratio_goal

ROOT = Path(__file__).parents[2]
SECTOR, IMAGE_BYTES = 512, 64 << 20
MANY = 32  # requests a call
PRIME = 7919  # steps over the disk
STATED = 0.0  # at least so much: always so
WAYS = {
    "64 KiB read": ("read", 128),
    "4 KiB read": ("read", 8),
    "4 KiB read, of 32 a call": ("many", 8),
    "64 KiB written": ("write", 128),
    "4 KiB written and flushed": ("sync", 8),
}
OURS, THEIRS = "by driver and device", "by one process"


@dataclass(frozen=True, slots=True)
class Sizes:
    """``requests`` of each way in a round; of those that are flushed a tenth."""

    rounds: int
    requests: int


FULL = Sizes(rounds=9, requests=3200)
QUICK = Sizes(rounds=5, requests=640)


def run(sizes: Sizes, progress: Callable[[str], None]) -> Report:
    """All measurements: every series, and the ratios, for information."""
    with ExitStack() as stack:
        progress("starting the system")
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sel4py-bench-disk-")))
        own = stack.enter_context(OwnFile(folder / "own.img"))
        system = stack.enter_context(BootedSystem(_description(folder)))
        turns: dict[str, Callable[[], float]] = {}
        for name, (order, count) in WAYS.items():
            times = {"sync": sizes.requests // 10, "many": sizes.requests // MANY}.get(order, sizes.requests)
            turns[f"{name} {OURS}"] = _asked(system, f"{order} {count} {times}")
            turns[f"{name} {THEIRS}"] = own.turn(order, count, times)
        system.order(f"write 1024 {IMAGE_BYTES // SECTOR // 1024}")  # no holes, as in the other file
        progress(f"{sizes.rounds} interleaved rounds")
        series = interleave(turns, sizes.rounds)
    goals = [_stated(series, name) for name in WAYS]
    rate = 65536 / series[f"64 KiB read {OURS}"].median / 1e6
    return Report(list(series.values()), goals, facts=[f"64 KiB reads through driver and device: {rate:.0f} MB/s"])


class OwnFile:
    """A file of the same size, and the same requests to it by system calls. A context manager."""

    def __init__(self, path: Path) -> None:
        path.write_bytes(bytes(range(256)) * (IMAGE_BYTES // 256))
        self._descriptor = os.open(path, os.O_RDWR)
        self._memory = memoryview(bytearray(MANY * 65536))

    def turn(self, order: str, count: int, times: int) -> Callable[[], float]:
        """Does it, and returns seconds a request."""
        size = count * SECTOR
        places = IMAGE_BYTES // size
        number = times * MANY if order == "many" else times
        step = PRIME if order == "many" else 1
        offsets = [each * step % places * size for each in range(number)]
        act = {"read": self._read, "many": self._read, "write": self._write, "sync": self._sync}[order]

        def timed() -> float:
            part = self._memory[:size]
            start = time.perf_counter()
            for offset in offsets:
                act(part, offset)
            return (time.perf_counter() - start) / number

        return timed

    def _read(self, part: memoryview, offset: int) -> None:
        os.preadv(self._descriptor, [part], offset)

    def _write(self, part: memoryview, offset: int) -> None:
        os.pwritev(self._descriptor, [part], offset)

    def _sync(self, part: memoryview, offset: int) -> None:
        self._write(part, offset)
        os.fsync(self._descriptor)

    def __enter__(self) -> OwnFile:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)


def _description(folder: Path) -> Path:
    text = (SYSTEMS / "storage.toml").read_text().replace("[system]", f'[system]\npaths = ["{ROOT}"]', 1)
    path = folder / "storage.toml"
    path.write_text(text)
    return path


def _asked(system: BootedSystem, order: str) -> Callable[[], float]:
    return lambda: float(system.order(order)["seconds"])


def _stated(series: dict[str, Series], name: str) -> Goal:
    ours, theirs = series[f"{name} {OURS}"], series[f"{name} {THEIRS}"]
    return ratio_goal(f"{ours.name}, against one process", ours, theirs, STATED, faster=True)
