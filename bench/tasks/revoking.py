"""Takes endpoint capabilities back while channels made with them are in use."""

from __future__ import annotations

import time

from bench.tasks.load import Load
from libsel4py.capabilities import Endpoint
from libsel4py.task import Task

WARM_SECONDS = 0.002  # of calls before the revocation


def one_by_one(task: Task, client: Load, server: str, count: int) -> dict[str, object]:
    """Give the client a copy of the capability for ``server``, let it call, and revoke, so many times.

    The seconds count from before the revocation is asked for to the client's first refused call. Where the client had
    not come to call by then, nothing was cut off, and it is done once more.
    """
    endpoint = Endpoint(task.environment.connections[server].cptr)
    seconds: list[float] = []
    while len(seconds) < count:
        client.hold(endpoint)
        client.call_until_refused()
        time.sleep(WARM_SECONDS)
        start = time.perf_counter_ns()
        task.cnode.revoke(endpoint.cptr)
        refused_at = client.refused_at()
        if client.calls():
            seconds.append((refused_at - start) / 1e9)
    return {"seconds": seconds}


def many(task: Task, clients: list[Load], count: int) -> dict[str, object]:
    """Let each client open ``count`` channels, and revoke everything that they were made with.

    The clients share the servers of the pairs, since an endpoint has a limit of channels.
    """
    connections = task.environment.connections
    servers = [Endpoint(connections[name].cptr) for name in connections if name.startswith("server")]
    for number, client in enumerate(clients):
        client.open(servers[number % len(servers)], count)
    start = time.perf_counter_ns()
    for server in servers:
        task.cnode.revoke(server.cptr)
    seconds = (time.perf_counter_ns() - start) / 1e9
    return {"seconds": seconds, "channels": len(clients) * count, "answered": sum(each.close() for each in clients)}
