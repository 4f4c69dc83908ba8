"""Root's tests again as a user who is not: the workstation, the command, and the hostile task on the host."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.supervisor import ROOT, SECONDS

USER = 65534
MODULES = "import deploy.cli, hw._ram, hw._cpu, msgpack, zmq, uvloop, msgspec"
# Becomes the user for good, and then the command: sel4py itself never changes its user.
BECOME = (
    "import os, sys\n"
    "user = int(sys.argv[1])\n"
    "os.setgroups([])\n"
    "os.setgid(user)\n"
    "os.setuid(user)\n"
    "os.execv(sys.argv[2], sys.argv[2:])\n"
)


class PlainUser:
    """Runs commands as another user, in a folder of that user's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, *arguments: str, typed: str = "") -> subprocess.CompletedProcess[str]:
        """Runs the interpreter with these arguments to its end."""
        environment = {name: value for name, value in os.environ.items() if name != "XDG_RUNTIME_DIR"}
        environment |= {
            "SEL4PY_RUNTIME_DIR": str(self.folder),
            "SEL4PY_STATE_DIR": str(self.folder / "state"),
            "HOME": str(self.folder),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        return subprocess.run(
            [sys.executable, "-c", BECOME, str(USER), sys.executable, *arguments],
            input=typed,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            cwd=ROOT,
            env=environment,
        )

    def logs(self) -> str:
        return "".join(f"--- {log.name}\n{log.read_text()}" for log in sorted(self.folder.rglob("*.log")))


@pytest.fixture
def user() -> Iterator[PlainUser]:
    if os.getuid() != 0:
        pytest.skip("all tests of this folder run as a plain user already")
    # pytest's own folders are root's alone.
    folder = Path(tempfile.mkdtemp(prefix="sel4py-user-"))
    try:
        os.chown(folder, USER, USER)
        user = PlainUser(folder)
        tried = user.run("-c", MODULES)
        if tried.returncode:
            pytest.skip(f"user {USER} cannot run {sys.executable}: {tried.stderr.strip().splitlines()[-1]}")
        yield user
    finally:
        shutil.rmtree(folder)


def test_the_workstation_answers_a_plain_user(user: PlainUser) -> None:
    script = "ps\nping 100\nkill pong\nping 5\nexit 3\n"
    done = user.run("-m", "deploy.cli", "up", "workstation", typed=script)
    assert done.returncode == 3, done.stdout + done.stderr
    for text in ("console  running", "100 calls to pong", "pong was ended", "5 calls to pong"):
        assert text in done.stdout, done.stdout


def test_the_command_serves_a_plain_user(user: PlainUser) -> None:
    for arguments, text in (
        (("up", "workstation", "--detach"), "workstation is up"),
        (("ps",), "BLOCKED_ON_RECEIVE"),
        (("fsck",), "all invariants hold"),
        (("why", "shell"), "shell waits for the reply"),
        (("image", str(user.folder / "ram")), "saved"),
        (("fsck", "--image", str(user.folder / "ram")), "all invariants hold"),
        (("kill", "pong"), "pong was killed"),
        (("down",), "workstation has ended"),
    ):
        done = user.run("-m", "deploy.cli", *arguments)
        assert (done.returncode, text in done.stdout) == (0, True), (arguments, done)


@pytest.mark.parametrize("scene", ["guess", "replay", "host"])
def test_a_hostile_task_of_a_plain_user_reaches_nothing(user: PlainUser, scene: str) -> None:
    """All processes are one user's here, so that Linux's permissions alone part nothing."""
    plain = {
        "folder": str(user.folder / "system"),
        "images": ["tests.system.images.forging", "tests.system.images.forger"],
        "description": scene,
        "ram_bytes": 256 << 20,
        "descriptors": 0,
    }
    done = user.run("-m", "tests.system.launch", json.dumps(plain))
    assert done.returncode == 0, done.stdout + done.stderr + user.logs()
