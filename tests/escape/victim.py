"""The process that is attacked: it defends itself by nothing, so that the attacker's own sandbox is all that there is.

Its argument is a folder of its own. It writes a line of JSON (`Stage`) when it is ready, serves its sockets, and ends
when its stdin does.
"""

from __future__ import annotations

import ctypes
import os
import secrets
import selectors
import signal
import socket
import sys
from pathlib import Path
from typing import Final

from tests.escape import linux
from tests.escape.stage import Stage

PR_SET_PTRACER: Final = 0x59616D61
SECRET: Final = secrets.token_hex(8)
PAGE: Final = 4096


def files(folder: Path) -> None:
    (folder / "secret").write_text(SECRET)
    (folder / "file").write_text("")
    (folder / "link").symlink_to(SECRET)
    (folder / "full").mkdir()
    (folder / "full" / "entry").write_text("")
    program = folder / "program"
    program.write_text(f"#!/bin/sh\necho {SECRET} > {folder}/proof\n")
    program.chmod(0o755)
    os.mkfifo(folder / "pipe")


def queues() -> tuple[int, int, int, str]:
    """System V's memory, semaphore and queue, and a POSIX queue ("" where the host has none)."""
    shm = linux.system_call("shmget", 0, PAGE, 0o600)
    at = linux.system_call("shmat", shm, 0, 0)
    ctypes.memmove(at, SECRET.encode(), len(SECRET))
    sem = linux.system_call("semget", 0, 1, 0o600)
    msg = linux.system_call("msgget", 0, 0o600)
    for _ in range(4):
        linux.system_call("msgsnd", msg, linux.buffer((1).to_bytes(8, "little") + SECRET.encode()), len(SECRET), 0)
    name = f"sel4py-escape-{os.getpid()}"
    try:
        linux.system_call("mq_open", linux.text(name), os.O_CREAT | os.O_RDWR, 0o600, 0)
    except OSError:
        name = ""
    return shm, sem, msg, name


def forget(shm: int, sem: int, msg: int, queue: str) -> None:
    linux.system_call("shmctl", shm, linux.IPC_RMID, 0)
    linux.system_call("semctl", sem, 0, linux.IPC_RMID, 0)
    linux.system_call("msgctl", msg, linux.IPC_RMID, 0)
    if queue:
        linux.system_call("mq_unlink", linux.text(queue))


def listener(family: int, kind: int, address: object) -> socket.socket:
    made = socket.socket(family, kind)
    made.bind(address)
    if kind == socket.SOCK_STREAM:
        made.listen(64)
    return made


def main() -> None:
    folder = Path(sys.argv[1])
    files(folder)
    held = linux.memory(PAGE)
    ctypes.memmove(held, SECRET.encode(), len(SECRET))
    linux.prctl(PR_SET_PTRACER, (1 << 64) - 1, missing_is_fine=True)
    memory = os.memfd_create("victim")
    os.write(memory, SECRET.encode().ljust(PAGE))
    for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGIO):
        signal.signal(number, lambda number, frame: None)
    abstract = f"sel4py-escape-{os.getpid()}"
    sockets = [
        listener(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0)),
        listener(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0)),
        listener(socket.AF_UNIX, socket.SOCK_STREAM, str(folder / "socket")),
        listener(socket.AF_UNIX, socket.SOCK_STREAM, f"\0{abstract}"),
    ]
    shared = queues()
    stage = Stage(
        *(os.getpid(), SECRET, held, memory, str(folder)),
        *(sockets[0].getsockname()[1], sockets[1].getsockname()[1], abstract),
        *shared,
    )
    print(stage.pack(), flush=True)
    serve(sockets, memory)
    forget(*shared)


def serve(sockets: list[socket.socket], memory: int) -> None:
    """Whoever connects is sent the secret, and on Unix sockets the memory file as well; who sends is answered."""
    selector = selectors.DefaultSelector()
    for each in sockets:
        selector.register(each, selectors.EVENT_READ)
    selector.register(0, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.fd == 0:
                return
            each = key.fileobj
            assert isinstance(each, socket.socket)
            if each.type == socket.SOCK_DGRAM:
                _, sender = each.recvfrom(100)
                each.sendto(SECRET.encode(), sender)
                continue
            caller, _ = each.accept()
            with caller:
                if each.family == socket.AF_UNIX:
                    socket.send_fds(caller, [SECRET.encode()], [memory])
                else:
                    caller.sendall(SECRET.encode())


if __name__ == "__main__":
    main()
