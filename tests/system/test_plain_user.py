"""Root's tests again as a user who is not: the workstation, the command, and the hostile task on the host.

All but the last are slow, so that the default run stays short; `become.py` opens the way to an interpreter in root's
home.
"""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.management import Management
from hw.layers import VARIABLE
from tests.system.conftest import PROC
from tests.system.supervisor import ROOT, SECONDS

USER = 65534
MODULES = "import deploy.cli, hw._ram, hw._cpu, msgpack, zmq, uvloop, msgspec"
BECOME = Path(__file__).with_name("become.py")


class PlainUser:
    """Runs commands as another user, in a folder of that user's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, *arguments: str, typed: str = "", seconds: float = SECONDS) -> subprocess.CompletedProcess[str]:
        """Runs the interpreter with these arguments to its end."""
        environment = {name: value for name, value in os.environ.items() if name != "XDG_RUNTIME_DIR"}
        environment |= {
            "SEL4PY_RUNTIME_DIR": str(self.folder),
            "SEL4PY_STATE_DIR": str(self.folder / "state"),
            "HOME": str(self.folder),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTEST_ADDOPTS": "--color=no",  # lines of its summary are looked at
        }
        return subprocess.run(
            [sys.executable, str(BECOME), str(USER), sys.executable, *arguments],
            input=typed,
            capture_output=True,
            text=True,
            timeout=seconds,
            cwd=ROOT,
            env=environment,
        )

    def wait_waiting(self, task: str, system: str = "workstation") -> None:
        """Until the task waits for an answer: a system is up as soon as all are started."""
        with Management(self.folder / system, SECONDS) as management:
            for _ in management.events(0.2):
                rows = management.request("ps")
                assert isinstance(rows, list)
                if any(row["name"] == task and row["state"] == "BLOCKED_ON_REPLY" for row in rows):
                    return

    def logs(self) -> str:
        return "".join(f"--- {log.name}\n{log.read_text()}" for log in sorted(self.folder.rglob("*.log")))


@functools.cache
def why_not() -> str:
    """Why the user cannot run this interpreter; "" if it can."""
    tried = PlainUser(Path("/")).run("-c", MODULES)
    return tried.stderr.strip().splitlines()[-1] if tried.returncode else ""


@pytest.fixture
def user() -> Iterator[PlainUser]:
    if os.getuid() != 0:
        pytest.skip("all tests of this folder run as a plain user already")
    # pytest's own folders are root's alone.
    folder = Path(tempfile.mkdtemp(prefix="sel4py-user-"))
    try:
        os.chown(folder, USER, USER)
        user = PlainUser(folder)
        if reason := why_not():
            pytest.skip(f"user {USER} cannot run {sys.executable}: {reason}")
        yield user
    finally:
        shutil.rmtree(folder)


@pytest.mark.slow
def test_the_workstation_answers_a_plain_user(user: PlainUser) -> None:
    script = "ps\nping 100\nkill pong\nping 5\nexit 3\n"
    done = user.run("-m", "deploy.cli", "up", "workstation", typed=script)
    assert done.returncode == 3, done.stdout + done.stderr
    assert re.search(r"^console +running ", done.stdout, re.MULTILINE), done.stdout
    for text in ("100 calls to pong", "pong was ended", "5 calls to pong"):
        assert text in done.stdout, done.stdout


@pytest.mark.slow
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
        if "up" in arguments:
            user.wait_waiting("shell")


@pytest.mark.parametrize(("scene", "without"), [("guess", ""), ("replay", ""), ("host", ""), ("host", "pid")])
def test_a_hostile_task_of_a_plain_user_reaches_nothing(
    user: PlainUser, monkeypatch: pytest.MonkeyPatch, scene: str, without: str
) -> None:
    """All processes are one user's here, so that Linux's permissions alone part nothing."""
    monkeypatch.setenv(VARIABLE, without)
    plain = {
        "folder": str(user.folder / "system"),
        "images": ["tests.system.images.forging", "tests.system.images.forger"],
        "description": scene,
        "ram_bytes": 256 << 20,
        "descriptors": 0,
        "kernel_deaths": 0,
        "module_paths": [PROC],
        "host_calls": {},
    }
    done = user.run("-m", "tests.system.launch", json.dumps(plain))
    assert done.returncode == 0, done.stdout + done.stderr + user.logs()


@pytest.mark.slow
@pytest.mark.timeout(4 * SECONDS)
def test_no_attempt_of_a_plain_user_escapes(user: PlainUser) -> None:
    """The whole escape corpus, inside and outside, without root's rights."""
    corpus = ("-m", "pytest", "-rs", "-p", "no:cacheprovider", "-m", "slow or not slow", "tests/escape")
    done = user.run(*corpus, seconds=3 * SECONDS)
    assert done.returncode == 0, done.stdout + done.stderr
    skipped = [line for line in done.stdout.splitlines() if line.startswith("SKIPPED")]
    assert all(line.endswith(": this host delegates no control group") for line in skipped), done.stdout


@pytest.mark.slow
def test_faults_that_a_plain_user_orders_are_told_without_what_he_is_not_shown(user: PlainUser) -> None:
    order = ("--faults", "kill", "--targets", "pong", "--rate", "100", "--count", "1")
    done = user.run("-m", "deploy.cli", "chaos", "exercise", "--json", *order)
    assert done.returncode == 0, done.stdout + done.stderr + user.logs()
    told = json.loads(done.stdout)["result"]
    assert (told["ok"], told["injected"]) == (True, 1)
    assert (told["descriptors"], told["descriptors_hidden"]) == ({}, ["kernel", "monitor"])


@pytest.mark.slow
def test_a_plain_user_runs_a_program_confined(user: PlainUser) -> None:
    script, target = user.folder / "upper.py", user.folder / "target"
    script.write_text("import sys\nopen('out', 'w').write(sys.stdin.read().upper())\nsys.exit(4)\n")
    give = f"out={target}:rw"
    done = user.run("-m", "deploy.cli", "run", "--confined", str(script), "--give", give, "--cpu", "50%", typed="keys")
    assert done.returncode == 4, done.stdout + done.stderr + user.logs()
    assert target.read_text() == "KEYS"
    assert target.stat().st_uid == USER
