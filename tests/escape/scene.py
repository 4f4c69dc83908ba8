"""A victim, and attempts beside it: in ordinary processes, and in a system."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import string
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from deploy.disk import checked, create
from hw.layers import VARIABLE as WITHOUT
from libsel4py.interfaces.block import SECTOR_BYTES
from tests.escape.attempt import Attempt, Fate, Outcome, corpus, outcome_of
from tests.escape.other import TYPED
from tests.escape.stage import STARTERS, VARIABLE, Stage
from tests.system.supervisor import Supervisor

ROOT: Final = Path(__file__).resolve().parents[2]
SECONDS: Final = 100
RAM_BYTES: Final = 256 << 20
FILES_BYTES: Final = 16 << 20
OTHERS_SECTORS, SECTORS = 128, 64
COMMANDS: Final = ("\x1b[6n", "\x1b]2;", "\x9b6n")  # to a terminal: what it does by them is what somebody typed
CONFINED: Final = {
    "files": "r /public",
    "disk_files": "r /public",
    "tree": "rw /shared",
    "partition": '3 }\nreaders = ["attacker"]\n',
    "network": "connect tcp 127.0.0.1:80, connect udp 127.0.0.1:53, listen udp 53, resolve, ping 10.9.9.9",
    "other_network": "listen tcp 7, listen udp 7, connect udp 127.0.0.1",
    "is_generous": "false",
    "more": "",
}
GRANTED: Final = {
    **CONFINED,
    "files": "rw /",
    "disk_files": "rw /",
    "tree": "rw /",
    "partition": "2 }",
    "network": "all",
    "is_generous": "true",
    "more": 'names = { pong = "pong.pong" }\ngrants = ["system-information"]',
}
_ENDED: Final = re.compile(r"^ended (\S+) (.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Run:
    """How attempts went in a system, by their paths; and what was harmed by them, a line each."""

    outcomes: dict[str, Outcome]
    status: int
    harm: list[str] = field(default_factory=list)
    logs: str = ""


@contextlib.contextmanager
def victim() -> Iterator[Stage]:
    """The process that is attacked, until the end of the block."""
    folder = Path(tempfile.mkdtemp(prefix="sel4py-escape-"))
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.escape.victim", str(folder)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        with process:
            yield Stage.unpack(process.stdout.readline().decode())
            process.stdin.close()
        assert process.returncode == 0, f"the victim ended with {process.returncode}"
    finally:
        shutil.rmtree(folder)


def outside(stage: Stage, attempts: Sequence[Attempt]) -> dict[str, Outcome]:
    """How they go in ordinary processes of this user, by their paths."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.escape.outside", *(attempt.path for attempt in attempts)],
        cwd=ROOT,
        env={**os.environ, VARIABLE: stage.pack(), STARTERS: stage.secret},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = {path: outcome_of(int(status)) for path, status in _ENDED.findall(done.stdout)}
    broken = {path: outcome for path, outcome in found.items() if outcome.fate is Fate.BROKEN}
    assert not broken, f"{broken}\n{done.stderr}"
    return found


def inside(
    stage: Stage, attempts: Sequence[Attempt], *, granted: bool = False, watched: bool = True, without: str = ""
) -> Run:
    """How they go in tasks of a system that is booted for them.

    Args:
        granted: the tasks are granted what it takes. watched: it is looked for harm behind each.
        without: layers of the sandbox that are left out, with commas.
    """
    order = {attempt.path: number for number, attempt in enumerate(corpus())}
    numbers = [order[attempt.path] for attempt in attempts]
    description = {"numbers": numbers, "granted": granted, "watched": watched}
    folder = Path(tempfile.mkdtemp(prefix="sel4py-escape-"))
    options = {
        "folder": str(folder / "system"),
        "images": ["tests.escape.judge", "tests.escape.task"],
        "description": json.dumps(description),
        "ram_bytes": RAM_BYTES,
        "descriptors": 0,
        "kernel_deaths": 0,
        "module_paths": [],
        "host_calls": {},
    }
    try:
        done = subprocess.run(
            [sys.executable, "-m", "tests.system.launch", json.dumps(options)],
            cwd=ROOT,
            env={**os.environ, VARIABLE: stage.pack(), STARTERS: stage.secret, WITHOUT: without},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        logs = "".join(f"--- {each.name}\n{each.read_text()}" for each in sorted(folder.rglob("*.log")))
    finally:
        shutil.rmtree(folder)
    paths = [attempt.path for attempt in corpus()]
    outcomes = {paths[int(number)]: _outcome(text) for number, text in _ENDED.findall(logs)}
    return Run(
        outcomes, done.returncode, re.findall(r"^harm (.*)$", logs, re.MULTILINE), done.stdout + done.stderr + logs
    )


def _outcome(text: str) -> Outcome:
    match text.split():
        case ["status", status]:
            return outcome_of(int(status))
        case ["fault", *label]:
            return Outcome(Fate.FAULTED, " ".join(label))
        case _:
            return Outcome(Fate.ENDED, text)


def beside_servers(sel4py: Supervisor, folder: Path, attempts: Sequence[Attempt], *, granted: bool = False) -> Run:
    """How attempts on servers go in a task that may use a part of each, or that was granted all."""
    name = f"deputies-{'granted' if granted else 'confined'}"
    template = string.Template((ROOT / "tests" / "escape" / "deputies.toml").read_text())
    only = "".join(f'"{attempt.path}", ' for attempt in attempts)
    text = template.substitute(GRANTED if granted else CONFINED, only=only)
    path = folder / f"{name}.toml"
    path.write_text(f'[system]\nname = "{name}"\npaths = ["{ROOT}"]\n\n{text}')
    image = folder / "deputies.img"
    image.unlink(missing_ok=True)
    make_disk(image)
    ended = sel4py.run("up", path, typed=TYPED)
    logs = sel4py.run("logs", "--system", name).output
    log = sel4py.folder / name / "logs" / "attacker.log"
    said = log.read_text() if log.exists() else ""
    outcomes = {attempt: _outcome(text) for attempt, text in _ENDED.findall(said)}
    harm = re.findall(r"^harm (.*)$", said, re.MULTILINE)
    harm += [f"the file system: {problem}" for problem in checked(image, 1).problems]
    harm += [f"{code!r} came to the terminal" for code in COMMANDS if code in ended.output]
    return Run(outcomes, ended.status, harm, ended.output + ended.error + logs)


def make_disk(image: Path) -> None:
    """Three partitions: of a file system, of the other one, and of the attacker."""
    create(image, FILES_BYTES, partition=True)
    with image.open("r+b") as file:
        first = FILES_BYTES // SECTOR_BYTES
        for at, sectors in ((446 + 16, OTHERS_SECTORS), (446 + 32, SECTORS)):
            file.seek(at)
            file.write(struct.pack("<B3xB3xII", 0, 0x83, first, sectors))
            first += sectors
        file.truncate(first * SECTOR_BYTES)
