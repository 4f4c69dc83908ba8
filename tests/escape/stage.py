"""What attempts act on: an ordinary process of the same user with a secret, and things of the host's that lead to it.

`victim.py` is that process. Attempts find it in their environment: the zygote imports them, and clears its environment
before the first task begins.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from typing import Final

VARIABLE: Final = "SEL4PY_TEST_ESCAPE_STAGE"
AHEAD: Final = 8  # numbers beyond the own
STARTERS: Final = "ESCAPE_TOKEN_OF_THE_STARTER"
"""What whoever starts the system, or the ordinary process, has in the environment for himself."""


@dataclass(frozen=True, slots=True)
class Stage:
    """The victim, and what it has set up.

    Attributes:
        secret: what the victim holds, 16 characters. address: where, in its memory. fd: its descriptor of a memory file
        that begins with it. link_fd: a socket pair's end there; what is written to the other end it reads.
        folder: its own, with `secret` (the secret), `link` (leads to what is called so), `file` (empty), `pipe`,
        `socket` (answers by the secret), `program` (writes it to `proof`).
        port, udp_port: of 127.0.0.1. abstract: a Unix socket's name.
        shm, sem, msg: System V identifiers; the queue holds the secret, and so does the memory.
        queue: a POSIX queue's name. system: pids of the system's kernel, zygote and monitor, where there is one.
    """

    pid: int
    secret: str
    address: int
    fd: int
    folder: str
    port: int
    udp_port: int
    abstract: str
    shm: int
    sem: int
    msg: int
    queue: str
    system: tuple[int, ...] = ()

    def is_secret(self, data: bytes) -> bool:
        return data[: len(self.secret)] == self.secret.encode()

    def path(self, name: str) -> str:
        return os.path.join(self.folder, name)

    def neighbours(self) -> list[int]:
        """Numbers of the victim, of other tasks, and of the process ahead of need, which is made after this one."""
        own = os.getpid()
        return [self.pid, *(number for number in range(2, own + AHEAD) if number != own)]

    def pack(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def unpack(cls, text: str) -> Stage:
        return cls(**json.loads(text))


NOWHERE: Final = Stage(0, "", 0, -1, "/nowhere", 0, 0, "", -1, -1, -1, "")


def given() -> Stage:
    """That of this process's environment."""
    text = os.environ.get(VARIABLE)
    return Stage.unpack(text) if text else NOWHERE
