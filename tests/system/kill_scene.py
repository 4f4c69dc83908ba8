"""A workstation whose servers are killed under its clients: its description, the kills, and what may not be left."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import random
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.management import Management, Refused
from tests.system.supervisor import PROMPT, ROOT, Supervisor, Terminal

NAME = "killed"
AGAIN_SECONDS = 60.0  # until a killed server has a process
END_SECONDS = 300.0  # until the copier has ended, from when it is told to
SETTLE_SECONDS = 30.0
SECOND_LATEST = 0.02  # seconds after the first of two kills: the second may meet the recovery of the first
LOST = "ServerDied"
PIECE_BYTES = 1 << 20
FIRST_NUMBER = 100_000
# What clients make when they call often enough or wait for somebody, and so have at some times and at others not:
# channels with their memory, replies, death notices. A kill that left one of them would be seen after some more kills.
CHANNELS, SMALL = 12, 4
SPARE = {"CHANNEL": CHANNELS * 8192, "REPLY": SMALL * 32, "DEATH_NOTICE": SMALL * 128, "FRAME": SMALL * 4096}
SPARE["used"] = sum(SPARE.values())
SPARE |= dict.fromkeys(("descriptors of kerneld", "memfds of kerneld"), CHANNELS + SMALL)
SPARE |= dict.fromkeys(("descriptors of monitor", "memfds of monitor"), CHANNELS + SMALL)
SPARE["frames"] = SMALL
CLIENTS = 'clients = { shell = "rw /"'
COPIER = """
[task.copier]
image = "tests.system.images.copying"
priority = 100
memory = "64M"
pool = "4M"
uses = {{ files = {{ from = "vfs.files", rights = "wgp" }} }}
config = {{ source = "source", sha256 = "{digest}" }}
"""


@dataclass(frozen=True)
class Page:
    """What is served: bytes at a path of an address of the host's."""

    address: tuple[str, int]
    path: str
    size: int
    digest: str


class Leftovers:
    """A running system's kills, and what they leave behind. ``folder``: its runtime folder; ``terminal``: its own."""

    def __init__(self, folder: Path, terminal: Terminal) -> None:
        self._folder = folder
        self.terminal = terminal

    def kill(self, victims: Iterable[str], chance: random.Random) -> None:
        """End servers, one a moment after the other, and wait until each has another process."""
        with Management(self._folder, AGAIN_SECONDS) as management, management.listen() as listener:
            killed: dict[str, object] = {}
            for victim in victims:
                if killed:
                    time.sleep(chance.uniform(0, SECOND_LATEST))
                killed[victim] = _pids(management).get(victim)
                with contextlib.suppress(Refused):  # it fell with the first, and is being started
                    management.request("kill", task=victim)
            deadline = time.monotonic() + AGAIN_SECONDS
            # What is told before the listener's connection stands it never hears: so it only says when to look again.
            while again := [each for each, pid in killed.items() if _pids(management).get(each) in (None, pid)]:
                assert time.monotonic() < deadline, f"{again} are not started again"
                listener.next(0.25)

    def left(self) -> dict[str, int]:
        """What kills could leave behind: so many of each, or bytes of RAM."""
        with Management(self._folder, AGAIN_SECONDS) as management:
            status, memory = management.request("status"), management.request("inspect", what="memory")
        assert isinstance(status, Mapping)
        assert isinstance(memory, Mapping)
        found = {"tasks": status["tasks"], "frames": status["frames_with_own_memory"]}
        found |= {"used": memory["ram"] - memory["free"], "lost": memory["lost"], **memory["by_type"]}
        found |= {f"paid by {task}": paid for task, paid in memory["paid_by_task"].items()}
        for who, pid in (("kerneld", int(status["pid"])), ("monitor", self.terminal.process.pid)):
            links = _links(pid)
            found[f"descriptors of {who}"] = len(links)
            found[f"memfds of {who}"] = sum("memfd:" in link for link in links)
        found["processes"] = len(_below(self.terminal.process.pid))
        return found

    def assert_left(self, before: dict[str, int]) -> None:
        """Raises AssertionError unless all that there is more of than before, beyond `SPARE`, goes soon."""
        deadline = time.monotonic() + SETTLE_SECONDS
        with Management(self._folder, AGAIN_SECONDS) as management, management.listen() as listener:
            while more := {
                name: (before.get(name, 0), count)
                for name, count in self.left().items()
                if count > before.get(name, 0) + SPARE.get(name, 0)
            }:
                assert time.monotonic() < deadline, f"before and now: {more}"
                listener.next(0.25)


class Scene(Leftovers):
    """The running system, and the person before its terminal."""

    def __init__(self, sel4py: Supervisor, terminal: Terminal, size: int, digest: str) -> None:
        super().__init__(sel4py.folder / NAME, terminal)
        self._numbers = itertools.count(FIRST_NUMBER)
        self.page = Page(("127.0.0.1", sel4py.forwarded_port()), "/page", size, digest)

    def ping(self) -> bool:
        """Types a command; whether its answer is shown. If not, the shell says that a server died with the request.

        A console that was started again shows prompt and line once more, so it is the answer's own line that counts.
        """
        number = next(self._numbers)
        self.terminal.type(f"call pong ping {number}\r".encode())
        shown = ""
        while True:
            shown += self.terminal.until(PROMPT).decode().replace("\x1b[K", "").replace("\r", "")
            if f"\n{number}\n" in shown:
                return True
            if LOST in shown:
                return False

    def tell(self, line: str) -> None:
        """Types a line, and waits until the shell has carried it out."""
        self.terminal.type(line.encode() + b"\r")
        assert self.ping()

    def log(self, task: str) -> str:
        file = self._folder / "logs" / f"{task}.log"
        return file.read_text() if file.exists() else ""

    def wait_ended(self, task: str) -> str:
        """The last that the shell tells of a task which ends by itself, once it has."""
        with Management(self._folder, AGAIN_SECONDS) as management, management.listen() as listener:
            deadline = time.monotonic() + END_SECONDS
            while task in _pids(management):
                assert time.monotonic() < deadline, f"{task} does not end"
                listener.next(1.0)
        self.terminal.type(f"log {task}\r".encode())
        while "started" not in (shown := self.terminal.until(PROMPT).decode()):  # a prompt that was shown once more
            continue
        return shown.replace("\r", "").splitlines()[-2]


@contextlib.contextmanager
def killed_workstation(sel4py: Supervisor, folder: Path, copied: int, page: int) -> Iterator[Scene]:
    """The workstation, with a copier, and a disk with what is copied and got: so many bytes."""
    site, tree = folder / "site", folder / "tree"
    site.mkdir()
    tree.mkdir()
    digests = {}
    for file, size in ((site / "page", page), (tree / "source", copied)):
        chance = random.Random(size)
        data = b"".join(chance.randbytes(min(PIECE_BYTES, size - start)) for start in range(0, size, PIECE_BYTES))
        file.write_bytes(data)
        digests[file.name] = hashlib.sha256(data).hexdigest()
    image, description = folder / "killed.img", folder / f"{NAME}.toml"
    text = (ROOT / "deploy" / "systems" / "workstation.toml").read_text()
    assert text.count("workstation.img") == text.count(CLIENTS) == 1
    text = text.replace("workstation.img", image.name).replace(CLIENTS, f'{CLIENTS}, copier = "rw /copies"')
    text += COPIER.format(digest=digests["source"])
    description.write_text(f'[system]\nname = "{NAME}"\npaths = ["{ROOT}"]\n\n{text}')
    sel4py.ok("disk", "create", image, "--size", f"{(2 * copied + page >> 20) + 32}M")
    sel4py.ok("disk", "import", image, site, "www")
    sel4py.ok("disk", "import", image, tree, "copies")
    terminal = sel4py.terminal("up", description)
    terminal.until(PROMPT)
    yield Scene(sel4py, terminal, page, digests["page"])
    terminal.type(b"exit\r")
    assert terminal.wait() == 0


def _pids(management: Management) -> dict[str, object]:
    """Of the processes, by the names of their tasks."""
    rows = management.request("ps")
    assert isinstance(rows, list)
    return {row["name"]: row["pid"] for row in rows if row["thread"] == 0}


def _links(pid: int) -> list[str]:
    """None to be seen where Linux shows the descriptors of who may not be dumped to root alone."""
    found: list[str] = []
    try:
        names = os.listdir(f"/proc/{pid}/fd")
    except PermissionError:
        return found
    for name in names:
        with contextlib.suppress(FileNotFoundError):
            found.append(os.readlink(f"/proc/{pid}/fd/{name}"))
    return found


def _below(pid: int) -> list[int]:
    """All processes below one."""
    parents = {}
    for each in map(int, filter(str.isdigit, os.listdir("/proc"))):
        with contextlib.suppress(OSError):
            parents[each] = int(Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()[1])
    found = [pid]
    for known in found:
        found += [each for each, parent in parents.items() if parent == known]
    return found[1:]
