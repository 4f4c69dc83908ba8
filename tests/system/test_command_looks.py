"""The command `sel4py` on a system that it only looks at: what it tells, and how it says no.

One system for all of it. Behind each test it is looked at whether the system is as it was: the same processes, at rest,
all invariants held. One that is not fails that test, and the next test has a new one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.management import Management
from tests.memory_rows import check_sums, walk
from tests.system.supervisor import Supervisor, watched
from tests.system.test_command import QUIET, is_at_rest, wait_rows

SLOT_BYTES, PREVIOUS = 32, 16  # of a capability slot: its size, and where its link in the derivation order is


class Kept:
    """A small system called workstation at rest in the background, until its end."""

    def __init__(self, base: pytest.TempPathFactory) -> None:
        self._base = base
        self._end = contextlib.ExitStack()
        self._supervisor: Supervisor | None = None

    def system(self) -> Supervisor:
        """Its supervisor; it is booted where there is none."""
        if self._supervisor is None:
            supervisor = self._end.enter_context(watched(self._base.mktemp("kept") / "run"))
            supervisor.ok("up", QUIET, "--detach")
            self._supervisor = supervisor
        return self._supervisor

    def end(self) -> None:
        """End it where there is one, and check that nothing is left of it."""
        supervisor, self._supervisor = self._supervisor, None
        with self._end:
            if supervisor is not None:
                supervisor.ok("down")


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    kept = Kept(tmp_path_factory)
    yield kept
    kept.end()


@pytest.fixture
def at_rest(kept: Kept) -> Iterator[Supervisor]:
    """The supervisor of the kept system, to which this test does nothing."""
    try:
        system = kept.system()
        before = processes(system)
        yield system
        assert processes(system) == before
    except BaseException:
        kept.end()
        raise


def processes(system: Supervisor) -> dict[str, object]:
    """Of a system that is whole, by their tasks' names, when it is at rest: the serial driver looks up now and then."""
    wait_rows(system, is_at_rest)
    with Management(system.folder / "workstation") as management:
        rows = management.request("ps")
        assert isinstance(rows, list)
        assert management.request("fsck") == []
        return {row["name"]: row["pid"] for row in rows}


def test_inspect_and_fsck_tell_the_same_of_a_system_and_of_its_image(at_rest: Supervisor, tmp_path: Path) -> None:
    image = tmp_path / "ram"
    saved = at_rest.result("image", image)
    assert saved == {"file": str(image), "bytes": 512 << 20}
    assert image.stat().st_blocks * 512 < 64 << 20
    for what in ("untyped", "cspace", "queues", "vspaces", "memory"):
        live = at_rest.result("inspect", what)
        assert live
        assert at_rest.result("inspect", what, "--image", image) == live
        assert at_rest.ok("inspect", what, "--image", image) == at_rest.ok("inspect", what)
    assert at_rest.ok("fsck") == "all invariants hold\n"
    assert at_rest.result("fsck", "--image", image) == {"broken": []}
    spaces = {str(space["root_of"]): space for space in at_rest.rows("inspect", "cspace")}
    assert set(spaces) == {"root", "console", "names", "ping", "pong", "serial", "shell"}

    root = int(str(spaces["root"]["cnode"]), 16)
    with image.open("r+b") as file:
        file.seek(root + 3 * SLOT_BYTES + PREVIOUS)
        file.write((root + 5 * SLOT_BYTES).to_bytes(8, "little"))
    broken = at_rest.run("fsck", "--image", image)
    assert broken.status == 1
    assert "it should hold" in broken.output
    assert "invariants are broken" in broken.output
    told = at_rest.run("fsck", "--image", image, "--json")
    assert (told.status, told.json()["ok"]) == (1, False)


def test_memory_adds_up_and_names_every_task(at_rest: Supervisor) -> None:
    memory = at_rest.result("inspect")
    assert isinstance(memory, dict)
    check_sums(memory)
    assert (memory["lost"], memory["ram"]) == (0, 512 << 20)
    tasks = {"root", "console", "names", "ping", "pong", "serial", "shell"}
    assert set(memory["held_by_task"]) == set(memory["paid_by_task"]) == tasks
    limits = {row["paid_by"]: row["private_limit"] for row in walk(memory["untyped"]) if row["type"] == "VSPACE"}
    assert set(limits) == tasks
    waiting = [waiter["task"] for row in at_rest.rows("inspect", "queues") for waiter in row["waiting"]]  # type: ignore[attr-defined]
    assert {"console", "names", "pong", "root", "serial"} <= set(waiting)


def test_top_tells_what_each_process_has_used(at_rest: Supervisor) -> None:
    looks = at_rest.rows("top", "--interval", "0.05", "--count", "2")
    assert len(looks) == 2
    rows = {str(row["name"]): row for row in at_rest.rows("ps")}
    for each in looks:
        tasks = each["tasks"]
        assert isinstance(tasks, list)
        assert {task["task"]: (task["pid"], task["threads"]) for task in tasks} == {
            name: (row["pid"], 1 + (f"{name}.1" in rows)) for name, row in rows.items() if "." not in name
        }
        assert all(0 < task["cpu_us"] <= int(str(rows[task["task"]]["cpu_us"])) for task in tasks)
        assert all(0 <= task["percent"] < 200 for task in tasks)
    summary, heading, *lines = at_rest.ok("top", "--interval", "0.05").splitlines()
    assert summary.startswith("workstation, up ")
    assert heading.split() == ["task", "state", "processor", "%", "time", "ms", "threads", "restarts", "pid"]
    assert {line.split()[0] for line in lines} == {name for name in rows if "." not in name}


def test_why_tells_the_chain_to_its_end(at_rest: Supervisor) -> None:
    shell = at_rest.ok("why", "shell").splitlines()
    assert shell[0].startswith("shell waits for the reply to its call")
    assert "console" in shell[0]
    assert shell[1].startswith("console waits for a message on endpoint")
    driver = str(at_rest.result("why", "console.1")).splitlines()
    assert driver[0].startswith("console.1 waits for the reply")
    assert driver[1].startswith("serial waits for")
    assert "its process ended with status 0" in at_rest.ok("why", "ping")
    assert at_rest.ok("why", "ping").splitlines()[-1] == "ping ended with status 0"
    assert str(at_rest.result("why", "pong")).startswith("pong waits for a message")


REFUSALS = (
    (("ps", "--system", "nosuch"), 1, "no system named nosuch is running; running: workstation"),
    (("why", "nobody"), 1, "no task is called 'nobody'; there are console, console.1, names, ping, pong"),
    (("kill", "nobody"), 1, "no task is called 'nobody'; there are console"),
    (("logs", "nobody"), 1, "workstation has no log 'nobody'; there is console"),
    (("up", "workstation", "--detach"), 1, "a system named workstation is running already"),
    (("up", "nosuch"), 1, "there is no system description 'nosuch'"),
    (("up", "workstation", "--ram", "8M", "--name", "small"), 2, "RAM is a multiple of 4K in 128M..512G"),
    (("up", "workstation", "--name", "No Name"), 2, "small letter"),
    (("fsck", "--image", "/etc/hostname"), 1, "is no image of RAM; save one with `sel4py image FILE`"),
    (("inspect", "devices", "--image", "/etc/hostname"), 1, "an image is of RAM, and holds no devices"),
    (("fsck", "--image", "/nowhere"), 2, "'/nowhere' does not exist"),
    (("image", "/nowhere/ram"), 1, "/nowhere/ram: No such file or directory"),
    (
        ("inspect", "everything"),
        2,
        "'everything' is not one of 'untyped', 'cspace', 'queues', 'vspaces', 'io_spaces', 'notices', 'contexts', "
        "'holdings', 'memory', 'devices'",
    ),
    (("why",), 2, "Missing argument 'TASK'"),
    (("frobnicate",), 2, "there is no command 'frobnicate'"),
)


def test_what_cannot_be_done_is_refused_with_what_could(at_rest: Supervisor) -> None:
    for arguments, status, text in REFUSALS:
        refused = at_rest.run(*arguments)
        assert (refused.status, refused.output) == (status, ""), (arguments, refused)
        assert text in refused.error, (arguments, refused)
        if status == 1:
            told = at_rest.run(*arguments, "--json")
            assert (told.status, told.error) == (1, ""), (arguments, told)
            assert told.json()["ok"] is False
            assert text in str(told.json()["error"])
