"""The command `sel4py` on a detached system: what it does to it. What it only tells is in `test_command_looks`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from deploy.management import Management
from tests.system.supervisor import PROMPT, SECONDS, Supervisor

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
    for arguments in (
        ("ps",),
        ("top",),
        ("down",),
        ("why", "shell"),
        ("kill", "pong"),
        ("inspect",),
        ("fsck",),
        ("console",),
    ):
        refused = detached.run(*arguments)
        assert refused.status == 1
        assert refused.error == "sel4py: no system is running; start one with `sel4py up SYSTEM`\n"


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
    assert detached.result("down") == {"name": "workstation"}


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


FULL, CLOSED, UNREAD = "/dev/full", "closed", "a pipe that nobody reads"


@pytest.mark.parametrize(
    ("target", "status", "error"),
    [
        (FULL, 74, "minimal: the output cannot be written: No space left on device\n"),
        (CLOSED, 74, "minimal: the output cannot be written: Bad file descriptor\n"),
        (UNREAD, 0, ""),
    ],
)
def test_a_system_whose_consoles_output_cannot_be_written_ends_otherwise(
    sel4py: Supervisor, target: str, status: int, error: str
) -> None:
    reader, unread = os.pipe()
    os.close(reader)
    with open(unread, "wb") as pipe, open(FULL, "wb") as full:
        ended = subprocess.run(
            (sys.executable, "-m", "deploy.cli", "up", "minimal"),
            input=b"exit\n",
            stdout=full if target == FULL else pipe,
            stderr=subprocess.PIPE,
            env=sel4py.environment,
            cwd=sel4py.root,
            timeout=SECONDS,
            check=False,
            preexec_fn=partial(os.close, 1) if target == CLOSED else None,
        )
    assert (ended.returncode, ended.stderr.decode()) == (status, error)


def test_a_system_runs_whose_starter_ignores_that_children_end(sel4py: Supervisor) -> None:
    words = (sys.executable, "-m", "deploy.cli", "up", "minimal")
    ended = subprocess.run(
        words,
        input=b"exit\n",
        capture_output=True,
        env=sel4py.environment,
        cwd=sel4py.root,
        timeout=SECONDS,
        check=False,
        preexec_fn=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN),
    )
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert b"sel4py> exit" in ended.stdout


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


def test_a_script_that_waits_for_answers_has_all_of_them(detached: Supervisor) -> None:
    script = b"ping 10\necho one\n"
    for _ in range(2):  # what was shown to nobody comes first, or there is nothing
        output = detached.ok("console", "--prompt", "sel4py> ", typed=script).replace("\r", "")
        assert "10 calls to pong" in output
        assert output.endswith("echo one\none\nsel4py> ")
    refused = detached.run("console", "--prompt", "none such", "--timeout", "0.1", typed=b"echo two")
    assert (refused.status, refused.error) == (1, "sel4py: 'none such' did not come within 0.1 s behind 'echo two'\n")
    left = detached.run("console", "--prompt", "sel4py> ", typed=b"exit\necho three\n")
    assert (left.status, left.error) == (1, "sel4py: the console ended before 'echo three' was typed\n")
    detached.wait_ended("workstation")


def test_top_shows_until_the_system_ends(detached: Supervisor) -> None:
    shown = detached.terminal("top", "--interval", "0.2")
    shown.until(b"doorbells a second")
    shown.until(b"pong")
    detached.ok("down")
    assert shown.wait() == 0


@pytest.mark.parametrize("terminal", ["xterm", "dumb"])
def test_ctrl_c_ends_top_and_leaves_the_system(detached: Supervisor, terminal: str) -> None:
    detached.environment["TERM"] = terminal
    shown = detached.terminal("top", "--interval", "0.2")
    shown.until(b"doorbells a second")
    shown.type(b"\x03")
    assert shown.wait() == 0
    detached.ok("down")
