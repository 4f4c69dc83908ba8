"""The commands, run in this process against stand-in systems: output, JSON and exit status."""

from __future__ import annotations

import fcntl
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from deploy import launch
from deploy.cli import COMMANDS, main
from deploy.cli.output import Report
from deploy.cli.output import _print as print_report
from deploy.cli.up import how_to_reach
from deploy.description import find, load
from deploy.runtime import RuntimeRefused, state_folder, system_folder
from kerneld import layout
from tests.unit.deploy.conftest import FakeSystems

MANIFESTS = Path(__file__).parents[2] / "manifests"
GOOD = """
[system]
name = "good"
paths = ["{parts}"]
[task.client]
image = "parts.echo"
uses = {{ echo = "echo.echo" }}
[task.echo]
image = "parts.echo"
provides = {{ echo = "parts.interfaces:Echo" }}
"""


def sel4py(*arguments: str) -> Result:
    result = CliRunner().invoke(main, arguments)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def answer(result: Result) -> dict[str, object]:
    found = json.loads(result.stdout)
    assert isinstance(found, dict)
    return found


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "good.toml"
    path.write_text(GOOD.format(parts=MANIFESTS))
    return path


def test_a_system_in_the_background_is_talked_to_where_it_has_a_console(good: Path) -> None:
    assert how_to_reach(load(good)) == "it has no console; see what it does with: sel4py logs --system good"
    workstation = load(find("workstation"))
    assert how_to_reach(workstation) == "talk to it with: sel4py console --system workstation"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_and_json(name: str) -> None:
    command = main.get_command(click.Context(main), name)
    for words in [(name, inner) for inner in command.commands] if isinstance(command, click.Group) else [(name,)]:
        result = sel4py(*words, "--help")
        assert result.exit_code == 0
        assert "--json" in result.stdout


def test_unknown_command_is_a_usage_error() -> None:
    assert sel4py("fly").exit_code == 2


@pytest.mark.parametrize("group", [(), ("disk",)])
def test_the_list_of_commands_has_whole_sentences(group: tuple[str, ...]) -> None:
    listed = sel4py(*group, "--help").stdout.partition("Commands:\n")[2]
    assert "..." not in listed
    sentences = re.findall(r"^  (\S+) +(.+(?:\n {4,}.+)*)", listed, re.MULTILINE)
    assert len(sentences) > 3
    assert all(text.endswith(".") for _, text in sentences)


@pytest.mark.parametrize(("typed", "meant"), [(("kil", "x"), "kill"), (("disk", "imprt"), "import")])
def test_a_command_that_is_none_is_told_with_what_was_meant(typed: tuple[str, ...], meant: str) -> None:
    result = sel4py(*typed)
    assert result.exit_code == 2
    assert f"did you mean {meant!r}?" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("fly", "--json"), "there is no command 'fly'"),
        (("ps", "--json", "--flying"), "--flying"),
        (("kill", "--json"), "Missing argument"),
        (("disk", "create", "--json"), "Missing argument"),
        (("chaos", "x.toml", "--rate", "many", "--json"), "--rate"),
    ],
)
def test_wrong_usage_is_told_as_json_where_that_was_asked_for(arguments: tuple[str, ...], says: str) -> None:
    result = sel4py(*arguments)
    assert result.exit_code == 2
    assert result.stderr == ""
    found = answer(result)
    assert found["ok"] is False
    assert says in str(found["error"])


def test_what_is_behind_two_dashes_asks_for_nothing() -> None:
    result = sel4py("ps", "--", "--json")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Usage" in result.stderr


def test_ps_prints_a_table(systems: FakeSystems) -> None:
    systems.start("one")
    result = sel4py("ps")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "name   state    pid  strategy",
        "shell  running  41",
        "ping   waits    42   rest_for_one",
        "",
        "kernel restarts: 2; the last one took 9000 us",
    ]


def test_ps_prints_json(systems: FakeSystems) -> None:
    systems.start("one")
    assert answer(sel4py("ps", "--json"))["result"] == [
        {"name": "shell", "state": "running", "pid": 41, "strategy": ""},
        {"name": "ping", "state": "waits", "pid": 42, "strategy": "rest_for_one"},
    ]


@pytest.mark.parametrize("arguments", [("ps",), ("down",), ("kill", "shell"), ("why", "ping"), ("inspect",), ("fsck",)])
def test_without_a_system_every_command_fails_and_says_how_to_start_one(
    runtime: Path, arguments: tuple[str, ...]
) -> None:
    result = sel4py(*arguments)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr == "sel4py: no system is running; start one with `sel4py up SYSTEM`\n"
    told = sel4py(*arguments, "--json")
    assert told.exit_code == 1
    assert answer(told) == {"ok": False, "error": "no system is running; start one with `sel4py up SYSTEM`"}


def test_system_is_chosen_by_name(systems: FakeSystems) -> None:
    systems.start("one")
    systems.start("two")
    assert sel4py("ps").exit_code == 1
    assert sel4py("ps", "--system", "two").exit_code == 0
    assert "running: one, two" in sel4py("ps", "--system", "three").stderr


def test_systems_lists_what_runs(systems: FakeSystems) -> None:
    assert sel4py("systems").stdout == "no system is running\n"
    one = systems.start("one")
    assert answer(sel4py("systems", "--json"))["result"] == [
        {"name": "one", "pid": one.process.pid, "folder": str(one.folder)}
    ]
    assert str(one.process.pid) in sel4py("systems").stdout


def test_kill_tells_the_refusal_without_its_control_characters(systems: FakeSystems) -> None:
    systems.start("one")
    assert sel4py("kill", "shell").stdout == "shell was killed\n"
    refused = sel4py("kill", "shel")
    assert refused.exit_code == 1
    assert refused.stderr == "sel4py: there is no task shel; there are shell, ping\\x1b[31m\n"


def test_why_inspect_and_fsck_print_the_answer(systems: FakeSystems) -> None:
    systems.start("one")
    assert sel4py("why", "ping").stdout == "ping waits for a message on pong.pong\n"
    assert sel4py("inspect", "untyped").stdout == "untyped:\n  address  bits\n  0        28\n"
    assert sel4py("fsck").stdout == "all invariants hold\n"
    assert sel4py("inspect", "dreams").exit_code == 2


def test_image_is_saved(systems: FakeSystems, tmp_path: Path) -> None:
    systems.start("one")
    assert sel4py("image", str(tmp_path / "ram")).exit_code == 0
    assert (tmp_path / "ram").read_bytes() == b"RAM"


@pytest.mark.parametrize("command", ["image", "suspend", "screenshot"])
def test_what_is_no_file_and_what_is_another_file_stays(systems: FakeSystems, tmp_path: Path, command: str) -> None:
    systems.start("one")
    kept, pipe = tmp_path / "notes", tmp_path / "pipe"
    kept.write_text("what nobody wants to lose")
    os.mkfifo(pipe)
    for path in (kept, pipe):
        refused = sel4py(command, str(path))
        assert refused.exit_code == 1
        assert "would be lost; remove it, or choose another name" in refused.stderr
    assert kept.read_text() == "what nobody wants to lose"
    assert pipe.is_fifo()


@pytest.mark.parametrize("command", ["image", "suspend"])
def test_what_lies_where_the_kernel_writes_first_stays(systems: FakeSystems, tmp_path: Path, command: str) -> None:
    systems.start("one")
    kept = tmp_path / "ram.part"
    kept.write_text("what nobody wants to lose")
    refused = sel4py(command, str(tmp_path / "ram"))
    assert refused.exit_code == 1
    assert f"{kept} exists, is no image, and would be lost" in refused.stderr


def test_a_suspended_system_that_does_not_end_is_not_waited_for_as_its_file_is(
    systems: FakeSystems, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    systems.start("one")
    monkeypatch.setattr("deploy.cli.suspend.END_SECONDS", 0.05)
    result = sel4py("suspend", str(tmp_path / "ram"), "--force")
    assert result.exit_code == 1
    assert "one is saved, and still runs after 0.05 s; end it with `sel4py down --force`" in result.stderr


def test_a_link_stays_and_leads_to_the_image(systems: FakeSystems, tmp_path: Path) -> None:
    systems.start("one")
    link, folder = tmp_path / "link", tmp_path / "images"
    folder.mkdir()
    link.symlink_to(folder / "ram")
    result = sel4py("image", str(link), "--json")
    assert json.loads(result.stdout)["result"] == {"file": str(folder / "ram")}
    assert (folder / "ram").read_bytes() == b"RAM"


def test_an_image_takes_the_place_of_an_image_alone(systems: FakeSystems, tmp_path: Path) -> None:
    systems.start("one")
    kept = tmp_path / "notes"
    kept.write_text("what nobody wants to lose")
    refused = sel4py("image", str(kept))
    assert refused.exit_code == 1
    assert "is no image, and would be lost; remove it, or choose another name" in refused.stderr
    assert kept.read_text() == "what nobody wants to lose"
    former = tmp_path / "former"
    former.write_bytes(layout.MAGIC.to_bytes(8, "little"))
    assert sel4py("image", str(former)).exit_code == 0
    assert former.read_bytes() == b"RAM"


@pytest.mark.parametrize("command", [("fsck",), ("inspect", "untyped")])
def test_a_file_of_zeroes_is_no_image(tmp_path: Path, command: tuple[str, ...]) -> None:
    empty = tmp_path / "ram"
    empty.touch()
    os.truncate(empty, 128 << 20)
    result = sel4py(*command, "--image", str(empty))
    assert result.exit_code == 1
    assert "does not begin as RAM does; save an image with `sel4py image FILE`" in result.stderr


@pytest.mark.parametrize("number", ["nan", "inf", "-inf", "1e300", "-1", "0"])
@pytest.mark.parametrize(
    "command",
    [("down", "--timeout"), ("chaos", "minimal", "--rate"), ("chaos", "minimal", "--duration")],
    ids=lambda command: command[-1],
)
def test_a_number_that_cannot_be_counted_with_is_refused(command: tuple[str, ...], number: str) -> None:
    result = sel4py(*command, number)
    assert result.exit_code == 2
    assert "0<x<=" in result.stderr


def test_a_folder_that_cannot_be_is_told_with_the_variable_that_names_another(
    good: Path, runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, make in (("SEL4PY_STATE_DIR", state_folder), ("SEL4PY_RUNTIME_DIR", system_folder)):
        monkeypatch.setenv(variable, "/proc/nowhere")
        with pytest.raises(RuntimeRefused, match=f"set {variable} to a folder of your own"):
            make("one")


@pytest.mark.parametrize("is_there", [True, False])
def test_where_nothing_can_be_written_that_is_told(systems: FakeSystems, is_there: bool) -> None:
    if is_there:
        systems.start("one")
    with open("/dev/full", "w") as full:
        found = subprocess.run(
            [sys.executable, "-m", "deploy.cli", "ps", "--json"], stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert found.returncode == 1
    assert found.stderr.decode() == "sel4py: the output cannot be written: No space left on device\n"


@pytest.mark.parametrize("words", [["--help"], ["nonsense", "--json"], ["logs", "-f"], ["logs"]])
def test_what_is_printed_by_others_or_on_the_way_is_told_of_as_well(systems: FakeSystems, words: list[str]) -> None:
    logs = systems.start("one").folder / "logs"
    logs.mkdir()
    (logs / "shell.log").write_text("a line\n")
    with open("/dev/full", "w") as full:
        found = subprocess.run(
            [sys.executable, "-m", "deploy.cli", *words], stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert found.returncode == 1
    assert found.stderr.decode() == "sel4py: the output cannot be written: No space left on device\n"


@pytest.mark.parametrize("follow", [[], ["-f"]])
def test_a_pipe_that_nobody_reads_ends_logs_silently(systems: FakeSystems, follow: list[str]) -> None:
    logs = systems.start("one").folder / "logs"
    logs.mkdir()
    (logs / "shell.log").write_text("a line\n")
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as unread:
        found = subprocess.run(
            [sys.executable, "-m", "deploy.cli", "logs", *follow], stdout=unread, stderr=subprocess.PIPE, check=False
        )
    assert (found.returncode, found.stderr) == (1, b"")


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_pipe_that_returns_at_once_gets_all_of_the_output(systems: FakeSystems, unbuffered: str) -> None:
    logs = systems.start("one").folder / "logs"
    logs.mkdir()
    (logs / "shell.log").write_text("x" * 200_000)
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(writer, False)
    with open(reader, "rb") as answer:
        with open(writer, "wb") as output:
            command = subprocess.Popen(
                [sys.executable, "-m", "deploy.cli", "logs", "--json"],
                stdout=output,
                stderr=subprocess.PIPE,
                env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
            )
        read = answer.read()
    with command:
        assert command.communicate(timeout=60) == (None, b"")
    assert command.returncode == 0
    answered = json.loads(read)
    assert answered["ok"]
    assert "".join(each["text"] for each in answered["result"]) == "x" * 200_000


@pytest.mark.parametrize(
    ("closed", "status", "output", "error"),
    [
        ("<&-", 0, b"name", b""),
        (">&-", 1, b"", b"sel4py: the output cannot be written: Bad file descriptor\n"),
        ("2>&-", 0, b"name", b""),
        ("<&- >&- 2>&-", 1, b"", b""),
    ],
)
def test_standard_streams_may_be_closed(
    systems: FakeSystems, closed: str, status: int, output: bytes, error: bytes
) -> None:
    systems.start("one")
    found = subprocess.run(
        ["/bin/sh", "-c", f'exec "$0" -m deploy.cli systems {closed}', sys.executable],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    assert (found.returncode, found.stdout[:4], found.stderr) == (status, output, error)


def test_no_file_takes_the_number_of_a_stream_that_is_closed() -> None:
    program = (
        "import os; from deploy.cli import ensure_standard_streams; ensure_standard_streams();"
        "raise SystemExit(os.open(os.devnull, os.O_RDONLY))"
    )
    found = subprocess.run(["/bin/sh", "-c", 'exec "$0" -c "$1" <&- >&- 2>&-', sys.executable, program], check=False)
    assert found.returncode == 3


@pytest.mark.parametrize("as_json", [False, True])
def test_a_system_that_fails_in_the_foreground_is_told_of(
    good: Path, runtime: Path, monkeypatch: pytest.MonkeyPatch, as_json: bool
) -> None:
    monkeypatch.setattr(launch, "launch", lambda options: 3)
    result = sel4py("up", str(good), *(["--json"] if as_json else []))
    told = "good ended with status 3; `sel4py logs --system good` has what it wrote"
    assert result.exit_code == 3
    if as_json:
        assert json.loads(result.stdout) == {"ok": False, "result": {"name": "good", "status": 3}, "error": told}
    else:
        assert (result.stdout, result.stderr) == ("", f"sel4py: {told}\n")


def test_down_waits_for_the_end(systems: FakeSystems) -> None:
    one = systems.start("one")
    assert sel4py("down").stdout == "one has ended\n"
    assert one.process.wait() == 0
    assert sel4py("down").exit_code == 1


def test_down_by_force_asks_nobody(systems: FakeSystems) -> None:
    one = systems.start("one")
    assert sel4py("down", "--force").exit_code == 0
    assert one.process.wait() == -9


def test_check_shows_the_system_in_start_order(good: Path) -> None:
    result = sel4py("check", str(good))
    assert result.exit_code == 0
    head, columns, *rows = result.stdout.splitlines()
    assert head == f"{good}: good, 256M of RAM, 2 tasks"
    assert columns.split() == ["task", "image", "priority", "memory", "restart", "holds"]
    assert [row.split()[0] for row in rows] == ["echo", "client"]
    assert "echo→echo.echo#1" in rows[1]
    system = answer(sel4py("check", str(good), "--json"))["result"]
    assert isinstance(system, dict)
    assert system["name"] == "good"


def test_check_shows_which_connections_have_a_channel_of_their_own_mind(good: Path) -> None:
    text = good.read_text()
    for use in ("always", "never"):
        good.write_text(text.replace('"echo.echo"', f'{{ from = "echo.echo", channel = "{use}" }}'))
        assert f"echo→echo.echo#1,channel={use}" in sel4py("check", str(good)).stdout


def test_check_shows_which_devices_have_an_io_space(good: Path) -> None:
    machine = '[machine.devices.entropy0]\ntype = "entropy"\nport = 0x100\nirq = 5\n'
    device = 'devices = { rng = { device = "entropy0", io_space = "8K" } }\n'
    task = f'[task.driver]\nimage = "parts.echo"\n{device}'
    good.write_text(f"{good.read_text()}{machine}{task}")
    assert "rng→entropy0,io_space=8K" in sel4py("check", str(good)).stdout


def test_check_shows_whose_sandbox_is_loosened(good: Path) -> None:
    assert "LOOSENED" not in sel4py("check", str(good)).stdout
    image = 'image = "parts.echo"\n'
    good.write_text(good.read_text().replace(image, f'{image}host_calls = ["memfd_create", "ftruncate"]\n'))
    text = "is LOOSENED: parts.echo may make the host system calls memfd_create, ftruncate\n"
    assert text in sel4py("check", str(good)).stdout


def test_check_tells_every_problem_with_its_line() -> None:
    path = MANIFESTS / "bad" / "use-circle.toml"
    result = sel4py("check", str(path))
    assert result.exit_code == 1
    assert result.stderr.startswith(f"{path}:8: task.a.uses.peer closes a circle")
    problems = answer(sel4py("check", str(path), "--json"))["problems"]
    assert isinstance(problems, list)
    assert problems[0]["line"] == 8


def test_check_of_an_unknown_name_lists_the_known_ones() -> None:
    result = sel4py("check", "workstatoin")
    assert result.exit_code == 1
    assert "or one of confined, exercise, minimal, picture, workstation" in result.stderr


@pytest.mark.parametrize(
    ("option", "remedy"),
    [
        (("--ram", "12"), "whole number with K, M, G or T"),
        (("--ram", "4K"), "128M..512G"),
        (("--name", "A b"), "a name is"),
    ],
)
def test_up_refuses_bad_options(good: Path, option: tuple[str, str], remedy: str) -> None:
    result = sel4py("up", str(good), *option)
    assert result.exit_code == 2
    assert remedy in result.stderr


def test_up_refuses_a_name_that_runs(systems: FakeSystems, good: Path) -> None:
    systems.start("good")
    for how in ((), ("--detach",)):
        result = sel4py("up", str(good), *how)
        assert result.exit_code == 1
        assert "a system named good is running already" in result.stderr


def test_up_checks_memory_against_the_given_ram(good: Path, runtime: Path) -> None:
    result = sel4py("up", str(good), "--ram", "128M")
    assert result.exit_code == 1
    assert "does not fit 128M of RAM" in result.stderr


def test_logs_says_which_systems_have_left_some(runtime: Path) -> None:
    for name in ("one", "two"):
        (runtime / name / "logs").mkdir(parents=True)
        (runtime / name / "logs" / "ping.log").write_text(f"of {name}\n")
    refused = sel4py("logs", "ping")
    assert refused.exit_code == 1
    assert refused.stderr == (
        "sel4py: no system is running; these have left logs, choose one with --system: one, two\n"
    )
    assert sel4py("logs", "ping", "--system", "two").stdout == "of two\n"


def test_up_says_what_is_missing(good: Path, runtime: Path, tmp_path: Path) -> None:
    script = tmp_path / "no.script"
    assert sel4py("up", str(good), "--script", str(script)).stderr == f"sel4py: {script}: No such file or directory\n"
    script.write_text(f"help\n{'x' * 900}\n{'x' * 901}\n")
    assert sel4py("up", str(good), "--script", str(script)).stderr == (
        f"sel4py: line 3 of {script} has 901 bytes; the console takes lines of up to 900 bytes\n"
    )
    assert sel4py("up", str(runtime)).stderr.startswith(f"sel4py: the folder '{runtime}' has no system.toml; ")


def test_items_are_printed_as_they_come_and_an_error_behind_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a log of any length, one line is held."""
    printed = io.StringIO()
    monkeypatch.setattr("sys.stdout", printed)

    def items(error: Exception | None = None) -> Iterator[object]:
        for number in range(3):
            assert printed.getvalue().count("text") == number
            yield {"text": number}
        if error is not None:
            raise error

    print_report(Report(items()), True)
    lines = [{"text": number} for number in range(3)]
    assert json.loads(printed.getvalue()) == {"ok": True, "result": lines}
    printed.seek(0)
    printed.truncate()
    with pytest.raises(SystemExit) as ended:
        print_report(Report(items(OSError(5, "Input/output error", "a.log"))), True)
    assert ended.value.code == 1
    assert json.loads(printed.getvalue()) == {"ok": False, "result": lines, "error": "a.log: Input/output error"}
    printed.seek(0)
    printed.truncate()
    print_report(Report(iter(())), True)
    assert json.loads(printed.getvalue()) == {"ok": True, "result": []}


def test_logs_of_one_and_of_all(runtime: Path) -> None:
    logs = runtime / "one" / "logs"
    logs.mkdir(parents=True)
    (logs / "ping.log").write_bytes(b"first\n\x1b[2Jsecond")
    (logs / "shell.log").write_bytes(b"\xff\n")
    assert sel4py("logs", "ping").stdout == "first\n\\x1b[2Jsecond\n"
    assert sel4py("logs").stdout.splitlines() == [
        "        ping | first",
        "        ping | \\x1b[2Jsecond",
        "       shell | �",
    ]
    assert answer(sel4py("logs", "ping", "--json"))["result"] == [
        {"task": "ping", "text": "first"},
        {"task": "ping", "text": "\x1b[2Jsecond"},
    ]
    missing = sel4py("logs", "pin")
    assert missing.exit_code == 1
    assert "did you mean 'ping'" in missing.stderr


def test_following_ends_with_the_system(systems: FakeSystems) -> None:
    one = systems.start("one")
    (one.folder / "logs").mkdir()
    (one.folder / "logs" / "ping.log").write_text("first\nlast")
    one.process.kill()
    one.process.wait()
    assert sel4py("logs", "ping", "-f").stdout == "first\nlast\n"


def test_check_answers_what_can_be_and_what_cannot(good: Path) -> None:
    """The exit status of a certain no is no failure's."""
    yes = sel4py("check", str(good), "--can", "client", "call", "echo.echo")
    assert yes.exit_code == 0
    assert yes.stdout.startswith("yes: client can ever call echo.echo\n  client begins with echo.endpoint")
    no = sel4py("check", str(good), "--can", "echo", "reach", "client.cnode", "--trust", "client", "--json")
    assert no.exit_code == 3
    result = answer(no)["result"]
    assert isinstance(result, dict)
    assert result["can"] is False
    assert result["chain"] == []
    unknown = sel4py("check", str(good), "--can", "client", "reach", "ech")
    assert (unknown.exit_code, unknown.stdout) == (1, "")
    assert "did you mean 'echo" in unknown.stderr
    assert sel4py("check", str(good), "--can", "client", "eat", "echo").exit_code == 1


def test_check_lists_and_draws_authority(good: Path, tmp_path: Path) -> None:
    rows = answer(sel4py("check", str(good), "--who-can", "echo.echo", "--json"))["result"]
    assert isinstance(rows, list)
    assert {row["task"] for row in rows} == {"client", "echo"}
    assert sel4py("check", str(good), "--matrix").stdout.splitlines()[0].split() == ["reaches", "client", "echo"]
    picture = tmp_path / "out.svg"
    assert sel4py("check", str(good), "--graph", str(picture)).exit_code == 0
    assert "client reaches echo" in picture.read_text()


def test_check_takes_one_question_at_a_time(good: Path) -> None:
    assert sel4py("check", str(good), "--matrix", "--who-can", "echo").exit_code == 2
    assert sel4py("check", str(good), "--live").exit_code == 2
