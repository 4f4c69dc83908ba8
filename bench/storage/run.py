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
from bench.ipc.placement import Placement, best, place
from bench.report import Report
from bench.rounds import Goal, Series, interleave, ratio_goal
from bench.storage.fuse_files import FuseFiles, NoFuse
from bench.storage.own_files import OwnFiles
from bench.tasks.disk_driver import PRIME

ROOT = Path(__file__).parents[2]
SECTOR, IMAGE_BYTES = 512, 64 << 20
MANY = 32  # requests a call
STATED = 0.0  # at least so much: always so
WAYS = {
    "64 KiB read": ("read", 128),
    "4 KiB read": ("read", 8),
    "4 KiB read, of 32 a call": ("many", 8),
    "64 KiB written": ("write", 128),
    "4 KiB written and flushed": ("sync", 8),
}
# Of files: order, bytes, share of the number of requests; and how many times the other's speed is wanted.
FILE_WAYS = {
    "64 KiB of a file read": ("file-read", 65536, 0.25, 0.8),
    "64 KiB of a file written": ("file-write", 65536, 0.125, 0.8),
    "4 KiB of a file read at random": ("file-random", 4096, 1, 0.5),
    "small file created, synced and closed": ("create", 800, 0.0625, 1.0),
    "stat": ("stat", 0, 16, 1 / 1.5),
}
FILE_OURS, FILE_THEIRS = "by app, server, driver and device", "by littlefs in one process"
TMPFS = "by the host's os.stat of a tmpfs"
STAT_OURS, STAT_FUSE, FUSE_BOUND = f"stat {FILE_OURS}", "stat by a mount of FUSE in Python", 8.0
FUSE_SHARE = 0.5  # of the number of requests
TRIALS = 2  # of each placement; the better one counts
PLACEMENTS = (Placement.ONE, Placement.SPLIT)  # unpinned it is one of these, as it happens to begin
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
        files = stack.enter_context(OwnFiles(folder / "own-files.img", IMAGE_BYTES))
        fuse, why_not = _fuse(stack, folder / "fuse")
        system = stack.enter_context(BootedSystem(_description(folder)))
        turns: dict[str, Callable[[], float]] = {}
        for name, (order, count) in WAYS.items():
            times = {"sync": sizes.requests // 10, "many": sizes.requests // MANY}.get(order, sizes.requests)
            turns[f"{name} {OURS}"] = _asked(system, f"{order} {count} {times}")
            turns[f"{name} {THEIRS}"] = own.turn(order, count, times)
        system.order(f"write 1024 {IMAGE_BYTES // SECTOR // 1024}")  # no holes, as in the other file
        progress("looking where files are fastest")
        where: dict[str, Placement] = {}
        for name, (order, size, share, _) in FILE_WAYS.items():
            times = int(sizes.requests * share)
            ours = _Placed(system, f"{order} {size} {times}")
            where[name] = ours.placement
            turns[f"{name} {FILE_OURS}"] = ours
            turns[f"{name} {_peer(name)}"] = files.turn(order, size, times)
        if fuse is not None:
            turns[STAT_FUSE] = fuse.turn(int(sizes.requests * FUSE_SHARE))
        progress(f"{sizes.rounds} interleaved rounds")
        series = interleave(turns, sizes.rounds)
    goals = [_stated(series, name) for name in WAYS]
    for name, (_, _, _, bound) in FILE_WAYS.items():
        mine, theirs = series[f"{name} {FILE_OURS}"], series[f"{name} {_peer(name)}"]
        goals.append(
            ratio_goal(f"{mine.name}, against {_peer(name)[3:]}", mine, theirs, bound, faster=True, decides=False)
        )
    if fuse is not None:
        mine, theirs = series[STAT_OURS], series[STAT_FUSE]
        name = f"{mine.name}, against a mount of FUSE in Python"
        goals.append(ratio_goal(name, mine, theirs, FUSE_BOUND, faster=True, decides=False))
    rate = 65536 / series[f"64 KiB read {OURS}"].median / 1e6
    facts = [f"64 KiB reads through driver and device: {rate:.0f} MB/s"]
    facts.append("app and file system server: " + "; ".join(f"{name}: {at.value}" for name, at in where.items()))
    if why_not:
        facts.append(f"stat was not measured against a mount of FUSE in Python: {why_not}")
    return Report(list(series.values()), goals, facts=facts)


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


class _Placed:
    """An order to the driver, with app and file system server where trials of it were fastest. Gives seconds.

    Linux keeps two that talk to each other on one processor once they are there, or on two.
    """

    def __init__(self, system: BootedSystem, order: str) -> None:
        pids = system.tasks()
        self._app, self._server = [pids["driver"]], [pids["littlefs"]]
        self._ask = _asked(system, order)
        self.placement = best(lambda where: min(self._at(where) for _ in range(TRIALS)), PLACEMENTS)

    def __call__(self) -> float:
        return self._at(self.placement)

    def _at(self, placement: Placement) -> float:
        place(placement, self._app, self._server)
        try:
            return self._ask()
        finally:
            place(Placement.FREE, self._app, self._server)


def _peer(name: str) -> str:
    return TMPFS if name == "stat" else FILE_THEIRS


def _fuse(stack: ExitStack, folder: Path) -> tuple[FuseFiles | None, str]:
    """The mount; or None, and why there is none."""
    try:
        return stack.enter_context(FuseFiles(folder)), ""
    except NoFuse as error:
        return None, str(error)


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
