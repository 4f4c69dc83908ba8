"""The command `sel4py` on a detached system: what it tells, what it does, and how it says no."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.management import Management
from tests.memory_rows import check_sums, walk
from tests.system.supervisor import PROMPT, SECONDS, Supervisor

SLOT_BYTES, PREVIOUS = 32, 16  # of a capability slot: its size, and where its link in the derivation order is
LEAVE = b"\x1d"

QUIET = Path(__file__).with_name("quiet.toml")
LASTING = {"console", "console.1", "names", "pong", "root", "serial", "shell", "shell.1"}


@pytest.fixture
def detached(sel4py: Supervisor) -> Supervisor:
    """The supervisor, with a small system called workstation at rest in the background. The test ends it."""
    output = sel4py.ok("up", QUIET, "--detach")
    assert output == "workstation is up; talk to it with: sel4py console --system workstation\n"
    wait_rows(sel4py, is_at_rest)
    return sel4py


def is_at_rest(rows: dict[str, dict[str, object]]) -> bool:
    """Whether all have begun, ping has ended, and everybody waits. A system is up before: when root has started all."""
    return rows.keys() == LASTING and all(str(row["state"]).startswith("BLOCKED_ON_") for row in rows.values())


def wait_rows(system: Supervisor, wanted: Callable[[dict[str, dict[str, object]]], bool]) -> None:
    """Waits until the rows of `ps`, by name, are as wanted: looks again whenever the system tells of something."""
    with Management(system.folder / "workstation") as management:
        for _ in management.events(0.2):
            rows = management.request("ps")
            assert isinstance(rows, list)
            if wanted({row["name"]: row for row in rows}):
                return


def test_a_detached_system_is_listed_asked_and_ended(detached: Supervisor) -> None:
    system = detached.rows("systems")[0]
    assert system["name"] == "workstation"
    assert system["folder"] == str(detached.folder / "workstation")
    rows = {str(row["name"]): row for row in detached.rows("ps")}
    assert set(rows) == LASTING
    assert rows["console"]["pid"] == rows["console.1"]["pid"]
    assert rows["pong"]["image"] == "apps.pong.main"
    assert (rows["pong"]["state"], rows["pong"]["priority"]) == ("BLOCKED_ON_RECEIVE", 110)
    heading, *lines = detached.ok("ps").splitlines()
    assert heading.split() == list(rows["pong"])
    assert [line.split()[0] for line in lines] == sorted(rows)
    assert detached.ok("down") == "workstation has ended\n"
    assert detached.rows("systems") == []
    assert list(detached.folder.iterdir()) == []


def test_inspect_and_fsck_tell_the_same_of_a_system_and_of_its_image(detached: Supervisor, tmp_path: Path) -> None:
    image = tmp_path / "ram"
    saved = detached.result("image", image)
    assert saved == {"file": str(image), "bytes": 512 << 20}
    assert image.stat().st_blocks * 512 < 64 << 20
    for what in ("untyped", "cspace", "queues", "vspaces", "memory"):
        live = detached.result("inspect", what)
        assert live
        assert detached.result("inspect", what, "--image", image) == live
        assert detached.ok("inspect", what, "--image", image) == detached.ok("inspect", what)
    assert detached.ok("fsck") == "all invariants hold\n"
    assert detached.result("fsck", "--image", image) == {"broken": []}
    spaces = {str(space["root_of"]): space for space in detached.rows("inspect", "cspace")}
    assert set(spaces) == {"root", "console", "names", "ping", "pong", "serial", "shell"}
    detached.ok("down")

    root = int(str(spaces["root"]["cnode"]), 16)
    with image.open("r+b") as file:
        file.seek(root + 3 * SLOT_BYTES + PREVIOUS)
        file.write((root + 5 * SLOT_BYTES).to_bytes(8, "little"))
    broken = detached.run("fsck", "--image", image)
    assert broken.status == 1
    assert "it should hold" in broken.output
    assert "invariants are broken" in broken.output
    told = detached.run("fsck", "--image", image, "--json")
    assert (told.status, told.json()["ok"]) == (1, False)


def test_memory_adds_up_and_names_every_task(detached: Supervisor) -> None:
    memory = detached.result("inspect")
    assert isinstance(memory, dict)
    check_sums(memory)
    assert (memory["lost"], memory["ram"]) == (0, 512 << 20)
    tasks = {"root", "console", "names", "ping", "pong", "serial", "shell"}
    assert set(memory["held_by_task"]) == set(memory["paid_by_task"]) == tasks
    limits = {row["paid_by"]: row["private_limit"] for row in walk(memory["untyped"]) if row["type"] == "VSPACE"}
    assert set(limits) == tasks
    waiting = [waiter["task"] for row in detached.rows("inspect", "queues") for waiter in row["waiting"]]  # type: ignore[attr-defined]
    assert {"console", "names", "pong", "root", "serial"} <= set(waiting)
    detached.ok("down")


def test_why_tells_the_chain_to_its_end(detached: Supervisor) -> None:
    shell = detached.ok("why", "shell").splitlines()
    assert shell[0].startswith("shell waits for the reply to its call")
    assert "console" in shell[0]
    assert shell[1].startswith("console waits for a message on endpoint")
    driver = str(detached.result("why", "console.1")).splitlines()
    assert driver[0].startswith("console.1 waits for the reply")
    assert driver[1].startswith("serial waits for")
    assert "its process ended with status 0" in detached.ok("why", "ping")
    assert detached.ok("why", "ping").splitlines()[-1] == "ping ended with status 0"
    assert str(detached.result("why", "pong")).startswith("pong waits for a message")
    detached.ok("down")


def test_kill_ends_the_process_and_the_restart_policy_acts(detached: Supervisor) -> None:
    before = {str(row["name"]): row for row in detached.rows("ps")}
    assert detached.result("kill", "pong") == {"pid": before["pong"]["pid"]}
    wait_rows(detached, lambda rows: "pong" in rows and rows["pong"]["restarts"] == 1)
    after = {str(row["name"]): row for row in detached.rows("ps")}
    assert after["pong"]["pid"] != before["pong"]["pid"]
    assert (before["pong"]["last_cause"], after["pong"]["last_cause"]) == ("", "killed by request")
    assert (after["pong"]["strategy"], after["root"]["strategy"]) == ("by root", "")
    assert detached.ok("kill", "pong") == "pong was killed\n"
    wait_rows(detached, lambda rows: "pong" in rows and rows["pong"]["restarts"] == 2 and "ping" not in rows)
    refused = detached.run("kill", "ping")
    assert refused.status == 1
    assert refused.error.startswith("sel4py: ping has ended already; there are ")
    console = detached.terminal("console")
    console.type(b"log pong\r")
    console.until(b"ended with status %d" % (128 + signal.SIGKILL))
    console.until(b"started again (2)")
    console.type(b"ping 2\r")
    console.until(b"2 calls to pong")
    console.type(LEAVE)
    assert console.wait() == 0
    detached.ok("down")


def test_a_system_that_is_ended_while_its_kernel_starts_has_ended_in_order(sel4py: Supervisor) -> None:
    process = sel4py.start("up", "minimal")
    written = sel4py.folder / "minimal" / "monitor.pid"  # signals are heard by then
    while not written.exists():
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate(timeout=SECONDS)
    assert (process.returncode, error) == (0, b"")


def test_a_system_that_was_started_to_outlive_its_terminal_does(sel4py: Supervisor) -> None:
    former = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup(1), for what is started
    try:
        process = sel4py.start("up", "minimal")
    finally:
        signal.signal(signal.SIGHUP, former)
    written = sel4py.folder / "minimal" / "monitor.pid"
    while not written.exists():
        assert process.poll() is None
    process.send_signal(signal.SIGHUP)
    output, error = process.communicate(b"exit\n", SECONDS)
    assert (process.returncode, error) == (0, b"")
    assert b"sel4py> exit" in output


def test_an_essential_tasks_death_is_the_systems(detached: Supervisor) -> None:
    detached.ok("kill", "shell")
    detached.wait_ended("workstation")
    logs = detached.rows("logs", "root")
    assert any("the system ends with status 137" in str(line["text"]) for line in logs)


def test_logs_are_told_whole_followed_and_by_task(detached: Supervisor) -> None:
    follower = detached.start("logs", "-f")
    assert follower.stdout is not None
    assert any("ping | ping INFO: 100 calls" in line.decode() for line in follower.stdout)
    assert "100 calls" in detached.ok("logs", "ping")
    assert {str(line["task"]) for line in detached.rows("logs")} >= {"ping", "root"}
    detached.ok("down")
    follower.communicate(timeout=60)
    assert follower.returncode == 0


def test_the_console_is_joined_left_and_joined_again(detached: Supervisor) -> None:
    for count in (2, 3):
        console = detached.terminal("console")
        console.type(b"ping %d\r" % count)
        console.until(b"%d calls to pong" % count)
        console.until(PROMPT)
        console.type(LEAVE)
        assert console.wait() == 0
    last = detached.terminal("console", "--system", "workstation")
    last.type(b"exit\r")
    assert last.wait() == 0
    detached.wait_ended("workstation")


def test_down_by_force_leaves_nothing_but_logs(detached: Supervisor) -> None:
    detached.ok("down", "--force")
    assert detached.rows("systems") == []
    assert [path.name for path in (detached.folder / "workstation").iterdir()] == ["logs"]
    assert "100 calls" in detached.ok("logs", "ping") or "tasks started" in detached.ok("logs", "root")


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


def test_what_cannot_be_done_is_refused_with_what_could(detached: Supervisor) -> None:
    for arguments, status, text in REFUSALS:
        refused = detached.run(*arguments)
        assert (refused.status, refused.output) == (status, ""), (arguments, refused)
        assert text in refused.error, (arguments, refused)
        if status == 1:
            told = detached.run(*arguments, "--json")
            assert (told.status, told.error) == (1, ""), (arguments, told)
            assert told.json()["ok"] is False
            assert text in str(told.json()["error"])
    assert detached.result("down") == {"name": "workstation"}
    for arguments in (("ps",), ("down",), ("why", "shell"), ("kill", "pong"), ("inspect",), ("fsck",), ("console",)):
        refused = detached.run(*arguments)
        assert refused.status == 1
        assert refused.error == "sel4py: no system is running; start one with `sel4py up SYSTEM`\n"


def test_the_console_of_a_system_on_a_terminal_cannot_be_joined(sel4py: Supervisor) -> None:
    terminal = sel4py.terminal("up", QUIET)
    terminal.until(PROMPT)
    refused = sel4py.run("console")
    assert refused.status == 1
    assert (
        "workstation has no console to join: it has no UART, or runs on the terminal that started it" in refused.error
    )
    sel4py.ok("down")
    assert terminal.wait() == 0


def test_a_system_in_the_foreground_answers_in_json_and_its_console_is_elsewhere(sel4py: Supervisor) -> None:
    finished = sel4py.run("up", QUIET, "--json", typed=b"names\nexit\n")
    assert finished.json() == {"ok": True, "result": {"name": "workstation", "status": 0}}
    assert finished.output.count("\n") == 1
    assert "sel4py> names" in finished.error


def test_every_command_that_needs_no_system_answers_in_json(sel4py: Supervisor, tmp_path: Path) -> None:
    assert sel4py.rows("systems") == []
    checked = sel4py.result("check", "workstation")
    assert isinstance(checked, dict)
    assert checked["name"] == "workstation"
    features = {row["feature"]: row["found"] for row in sel4py.rows("doctor")}
    assert features["python"] is True
    made = sel4py.result("new", tmp_path / "greeter")
    assert isinstance(made, dict)
    assert made["name"] == "greeter"
    bad = tmp_path / "bad.toml"
    bad.write_text("[task.one]\nimage = 5\n")
    refused = sel4py.run("check", bad, "--json")
    assert refused.status == 1
    problem = json.loads(refused.output)["problems"][0]
    assert (problem["file"], problem["line"]) == (str(bad), 2)
