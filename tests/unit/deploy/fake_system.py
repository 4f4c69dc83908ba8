"""Stands in for a running system: ``python -m tests.unit.deploy.fake_system FOLDER``. It ends on ``down``."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import zmq

from deploy.runtime import take
from libsel4py.description import Grant, Group, Restart, Strategy, System, Task

TASKS = (
    Task("shell", "apps.shell.main", 100, 100, 1 << 20, 0, 1000, 1000, grants=(Grant.LIFECYCLE,)),
    Task("ping", "apps.ping.main", 100, 100, 1 << 20, 0, 1000, 1000, restart=Restart.ALWAYS),
)
ANSWERS: dict[str, object] = {
    "status": {"state": "up", "kernel_restarts": 2, "recovery_us": 9000},
    "ps": [{"name": "shell", "state": "running", "pid": 41}, {"name": "ping", "state": "waits", "pid": 42}],
    "description": System("two", 1 << 28, (), TASKS, (Group("pings", ("ping",), Strategy.REST_FOR_ONE),)).pack(),
    "fsck": [],
    "why": "ping waits for a message on pong.pong",
    "inspect": {"untyped": [{"address": 0, "bits": 28}]},
    "suspend": {"file": "/ram", "bytes": 3},  # and it goes on
    "down": None,
}


def answer(request: dict[str, object]) -> dict[str, object]:
    match request:
        case {"op": "kill", "task": "shell"}:
            return {"ok": True, "result": None}
        case {"op": "kill", "task": task}:
            return {"ok": False, "error": f"there is no task {task}; there are shell, ping\x1b[31m"}
        case {"op": "image", "file": str(file)}:
            Path(file).write_bytes(b"RAM")
            return {"ok": True, "result": {"file": file}}
        case {"op": str(op)} if op in ANSWERS:
            return {"ok": True, "result": ANSWERS[op]}
    return {"ok": False, "error": "unknown op"}


def serve(folder: Path) -> None:
    """Answers until ``down``."""
    context = zmq.Context[zmq.Socket[bytes]]()
    router = context.socket(zmq.ROUTER)
    router.bind(f"ipc://{folder / 'management'}")
    print("ready", flush=True)
    while True:
        identity, empty, data = router.recv_multipart()
        request = msgspec.msgpack.decode(data, type=dict[str, object])
        router.send_multipart([identity, empty, msgspec.msgpack.encode(answer(request))])
        if request["op"] == "down":
            break
    context.destroy(linger=1000)


if __name__ == "__main__":
    take(Path(sys.argv[1]))
    serve(Path(sys.argv[1]))
