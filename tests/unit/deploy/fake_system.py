"""Stands in for a running system: ``python -m tests.unit.deploy.fake_system FOLDER``. It ends on ``down``."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import zmq

from deploy.runtime import take

ANSWERS: dict[str, object] = {
    "status": {"state": "up"},
    "ps": [{"task": "shell", "state": "running", "pid": 41}, {"task": "ping", "state": "waits", "pid": 42}],
    "fsck": [],
    "why": "ping waits for a message on pong.pong",
    "inspect": {"untyped": [{"address": 0, "bits": 28}]},
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
