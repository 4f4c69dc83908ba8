"""Many clients, each with a server of its own, over `multiprocessing.Pipe`: ``python -m bench.ipc.pipe_pairs PAIRS``.

It prints the pids, client and server by turns; each line ``load SECONDS`` is answered with the calls of each client.
The clients count as those of `bench.tasks.load` do.
"""

from __future__ import annotations

import functools
import multiprocessing
import os
import sys
import time
from multiprocessing.connection import Connection

from bench.ipc.stand import die_with_parent, end, fork
from bench.ipc.standard import WORDS, Pipe
from bench.tasks.load import RUN

START_SECONDS = 0.05  # for all clients to have heard of it


def _client(orders: Connection, pipe: Pipe) -> None:
    calls, clock = pipe.calls(len(WORDS) * 8), time.perf_counter_ns
    while True:
        start, stop = orders.recv()
        time.sleep(max(0, start - clock()) / 1e9)
        count = 0
        while clock() < stop:
            calls(RUN)
            count += RUN
        orders.send(count)


def main(pairs: int) -> None:
    die_with_parent(os.getppid())
    orders, pids = [], []
    for _ in range(pairs):
        ours, theirs = multiprocessing.Pipe()
        pipe = Pipe()
        pids += [fork(functools.partial(_client, theirs, pipe)), pipe.server]
        orders.append(ours)
    print(*pids, flush=True)
    for order in sys.stdin:
        start = time.perf_counter_ns() + int(START_SECONDS * 1e9)
        for each in orders:
            each.send((start, start + int(float(order.split()[1]) * 1e9)))
        print(*(each.recv() for each in orders), flush=True)
    for pid in pids:
        end(pid)
    os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]))
