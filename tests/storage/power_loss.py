"""littlefs with the power cut in every state; in many: ``python -m tests.storage.power_loss --states 1000000``.

Prints a line each minute and the figures at the end; a loss ends it with the seed that shows it again.
"""

from __future__ import annotations

import argparse
import random
import time
from collections import Counter
from collections.abc import Iterable
from typing import Final

from libsel4py.littlefs import LittleFsVolume, MemoryStore, format_store
from libsel4py.littlefs.check import check
from libsel4py.testing.power_loss import Found, Lost, Operation, Survival, Work, random_work, scripted_work

SIZES: Final = (120 << 10, 240 << 10, 1 << 20)  # whose blocks have 4, 8 and 16 KiB
OPERATIONS: Final = 60
AGAIN: Final = 40
REPORT_SECONDS: Final = 60


def mount(store: MemoryStore) -> LittleFsVolume:
    return LittleFsVolume(store, cache_bytes=0)


def problems(store: MemoryStore) -> list[str]:
    health = check(store)
    return [*health.problems, *([f"{health.orphans} orphans"] if health.orphans else [])]


def survive(size: int, seed: int, samples: int, most: int | None, scripted: bool = False) -> Found:
    """One piece of work and its states. Raises Lost."""
    randomly = random.Random(seed)
    store = MemoryStore(size)
    format_store(store)
    medium = bytes(store.data)
    store.log = log = []
    work = Work(mount(store), lambda: len(log))
    operations: Iterable[Operation] = scripted_work()
    if not scripted:
        operations = random_work(randomly, work, OPERATIONS, size // 5)
    for operation in operations:
        work.do(operation)
    survival = Survival(mount, randomly, samples, AGAIN, problems)
    try:
        survival.look(medium, log, work, most)
    except Lost as error:
        raise Lost(f"{size} bytes, seed {seed}, samples {samples}, scripted {scripted}: {error}") from error
    return survival.found


def survive_many(states: int, samples: int, seed: int = 0, report_seconds: float = REPORT_SECONDS) -> Found:
    """Random pieces of work, one after the other, until ``states`` were looked at. Raises Lost."""
    total, told = Found(Counter()), time.monotonic()
    while total.total < states:
        found = survive(SIZES[seed % len(SIZES)], seed, samples, states - total.total)
        total.states += found.states
        total.again += found.again
        seed += 1
        if time.monotonic() - told > report_seconds:
            told = time.monotonic()
            print(f"{total.total} states, and {total.again} after a second cut; the next seed is {seed}", flush=True)
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description="Look at the states in which a power loss can leave a littlefs.")
    parser.add_argument("--states", type=int, default=1_000_000)
    parser.add_argument("--samples", type=int, default=40, help="longer and torn sequences of each flush epoch")
    parser.add_argument("--seed", type=int, default=0, help="of the first piece of work")
    options = parser.parse_args()
    begin = time.monotonic()
    found = survive_many(options.states, options.samples, options.seed)
    for kind, count in found.states.items():
        print(f"{count:9} {kind.value}")
    seconds = time.monotonic() - begin
    print(f"{found.total:9} states in {seconds:.0f} s, and {found.again} after a second cut; none lost anything")


if __name__ == "__main__":
    main()
