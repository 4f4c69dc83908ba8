"""The shell: each command with its answer, wrong words, the ends of a session, and a console that dies under it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from apps.shell.commands import COMMANDS
from apps.shell.main import Main
from libsel4py.context import Uses
from libsel4py.environment import Environment
from libsel4py.interfaces.ping import Ping
from libsel4py.task import Task
from libsel4py.testing import connect, system
from tests.unit.apps.shell_fakes import Counter, Directory, Instruments, Script, died, interrupted, lines, offered

GREETING = "sel4py: a microkernel on Linux. help lists the commands.\n"


class Shell:
    """A shell and what it stands on. `run` types lines and returns each one's answer."""

    def __init__(self, counter: Counter, pong: Ping) -> None:
        self.counter = counter
        self.names = Directory(pong=offered(pong), odd=("no.such.module:Odd", offered(pong)[1]))
        self.system = Instruments()
        self.status: int | None = None
        self.script = Script()

    def run(self, *typed: str | Exception, prepare: Callable[[Script], None] = lambda script: None) -> list[str]:
        self.script = script = Script(*typed)
        prepare(script)
        main = Main()
        main._task = Task(Environment("shell"))
        main._uses = Uses({"console": script, "names": self.names, "system": self.system})
        self.status = main.run()
        assert script.answers[0] == GREETING
        return [*script.answers[1:], script.shown]

    def answer(self, line: str) -> str:
        return self.run(line)[0]


@pytest.fixture
def shell() -> Iterator[Shell]:
    counter = Counter()
    with ExitStack() as stack:
        stack.enter_context(system())
        yield Shell(counter, stack.enter_context(connect(counter)))


def test_help_lists_each_command_once(shell: Shell) -> None:
    answer = shell.answer("help")
    assert [line.split()[0] for line in answer.splitlines()[1:]] == list(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_is_its_usage_and_what_it_does(shell: Shell, name: str) -> None:
    first, second, *_ = shell.answer(f"help {name}").splitlines()
    assert (first, second.strip()) == (COMMANDS[name].usage, COMMANDS[name].help)


def test_help_adds_what_the_usage_does_not_say(shell: Shell) -> None:
    assert "given up because it ended too often" in shell.answer("help kill")
    assert shell.answer("help nonsense") == "there is no command 'nonsense'; help lists them\n"


def test_ps_shows_each_task_with_the_time_that_it_has_used(shell: Shell) -> None:
    heading, pong, dead = lines(shell.answer("ps"))
    columns = [
        "task",
        "state",
        "priority",
        "threads",
        "memory",
        "restarts",
        "time",
        "image",
        "strategy",
        "last",
        "cause",
    ]
    assert heading == columns
    assert pong == ["pong", "running", "110", "2", "33M", "3", "1.5", "ms", "apps.pong.main"]
    assert dead == ["shell", "dead:", "ended", "100", "1", "4K", "0", "2.50", "s", "apps.shell.main"]


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("caps", "slot  type      rights  what\n  16  ENDPOINT  WP      what shell has\n"),
        ("caps pong", "slot  type      rights  what\n  16  ENDPOINT  WP      what pong has\n"),
        ("irq", "line  device  task\n   4  uart0   serial\n"),
        ("why pong", "pong is running\npong waits\n"),
        ("log pong 2", "event 98 of pong\nevent 99 of pong\n"),
        ("time", "up 61.50 s\n"),
        ("kill pong", "pong was ended\n"),
        ("call pong ping 42", "42\n"),
        ("call pong ping '42'", "42\n"),
        ("", ""),
        ("   ", ""),
        ("'help' irq", "irq\n  interrupt lines and their drivers\n"),
    ],
)
def test_commands_answer(shell: Shell, line: str, answer: str) -> None:
    assert shell.answer(line) == answer


def test_mem_shows_the_tree_and_what_is_free(shell: Shell) -> None:
    answer = shell.answer("mem")
    assert ["0x100000", "4096", "3000", "1096", "0", "pong:", "tcb"] in lines(answer)
    assert answer.endswith("\n2097152 bytes of RAM: 1051576 used, 1096 padding, 1044480 free\n")


def test_names_lists_what_can_be_found(shell: Shell) -> None:
    assert lines(shell.answer("names"))[1:] == [["odd", "no.such.module:Odd"], ["pong", Ping.interface_name]]


def test_log_is_this_tasks_own_and_has_twenty_lines_unless_told_otherwise(shell: Shell) -> None:
    assert len(shell.answer("log").splitlines()) == 20
    assert shell.answer("log").startswith("event 80 of shell\n")


def test_orders_go_to_root(shell: Shell) -> None:
    for order in ("stop", "start", "restart"):
        shell.answer(f"{order} pong")
    shell.answer("update pong apps.other.main")
    orders = ["stop", "start", "restart", "update to apps.other.main"]
    assert shell.system.asked == [(order, "pong") for order in orders]


def test_kill_asks_root(shell: Shell) -> None:
    shell.answer("kill pong")
    assert shell.system.killed == ["pong"]


def test_ping_calls_as_often_as_it_is_told_and_looks_up_once(shell: Shell) -> None:
    answers = shell.run("ping", "ping 3", "ping 2 pong")
    assert shell.counter.calls == [0, 0, 1, 2, 0, 1]
    assert shell.names.lookups == ["pong"]
    for count, answer in zip((1, 3, 2), answers, strict=False):
        assert re.fullmatch(rf"{count} calls to pong in .*: fastest .*, median .*, slowest .*\n", answer)


def test_ping_tells_of_a_wrong_answer() -> None:
    counter = Counter(wrong_from=2)
    with connect(counter) as pong:
        assert Shell(counter, pong).answer("ping 5") == "pong answered 3 to 2\n"


def test_time_passes_words_on_as_they_were_typed(shell: Shell) -> None:
    answer = shell.answer("time call pong ping ' 7'")
    assert re.fullmatch(r"7\ncall pong ping  7: [\d.]+ [mu]?s\n", answer)
    assert re.match(r"up .*\ntime: ", shell.answer("time time"))


def test_echo_puts_out_its_words(shell: Shell) -> None:
    assert shell.run("echo one  'two  three'", "echo", "echo a b | grep a | wc")[:3] == [
        "one two  three\n",
        "\n",
        "1 lines, 2 words, 4 bytes\n",
    ]


def test_history_has_the_lines_that_were_typed(shell: Shell) -> None:
    assert shell.run("irq", "", "  ", "nonsense 'x'", "history")[4] == "   1  irq\n   2  nonsense 'x'\n   3  history\n"


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("frobnicate", "there is no command 'frobnicate'; help lists them"),
        ("PS", "there is no command 'PS'; help lists them"),
        ("kill", "kill TASK: name a task; ps lists them"),
        ("why", "why TASK: name a task; ps lists them"),
        ("call", "call NAME METHOD [ARGUMENT …]: name a service; names lists them"),
        ("call pong", "call NAME METHOD [ARGUMENT …]: name a method of the service"),
        ("ps pong", "ps: 'pong' is a word too many"),
        ("exit 1 2", "exit [STATUS]: '2' is a word too many"),
        ("caps nobody", "there is no task 'nobody'; there are pong, shell"),
        ("kill nobody", "there is no task 'nobody'; there are pong, shell"),
        ("log nobody", "there is no task 'nobody'; there are pong, shell"),
        ("log pong 0", "the number of lines is a number from 1 to 1000, not '0'"),
        ("log pong many", "the number of lines is a number from 1 to 1000, not 'many'"),
        ("ping 0", "the number of calls is a number from 1 to 1000000, not '0'"),
        ("ping 3 pong 5", "a service's answer is waited for in any case: '5' is a word too many"),
        ("ping host 3 0", "how many seconds to wait is a number from 1 to 60, not '0'"),
        ("ping ²", "the number of calls is a number from 1 to 1000000, not '²'"),
        ("ping 1 nobody", "shell may find pong, odd, and 'nobody' is not among it"),
        ("exit 256", "the exit status is a number from 0 to 255, not '256'"),
        ("exit x", "the exit status is a number from 0 to 255, not 'x'"),
        ("call pong ping", "ping VALUE"),
        ("call pong sing 1", "Ping has no method 'sing'; it has ping, count"),
        ("call pong ping 'x", "No closing quotation: quotes come in pairs"),
        ("call pong count", "RemoteError: ZeroDivisionError at the server: nothing was counted"),
    ],
)
def test_what_cannot_be_done_is_told_with_what_can(shell: Shell, line: str, answer: str) -> None:
    assert shell.answer(line) == answer + "\n"
    assert shell.system.killed == []


def test_a_service_whose_interface_this_task_does_not_know_is_told(shell: Shell) -> None:
    assert shell.answer("call odd ping 1").startswith("LookupError: interface 'no.such.module:Odd'")


@pytest.mark.parametrize(("line", "status"), [("exit", 0), ("exit 7", 7), ("time exit 255", 255)])
def test_exit_ends_the_session_with_its_status(shell: Shell, line: str, status: int) -> None:
    shell.run(line, "kill pong")
    assert shell.status == status
    assert shell.system.killed == []


def test_the_end_of_the_input_is_an_exit(shell: Shell) -> None:
    shell.run("irq")
    assert shell.status == 0


def test_control_c_asks_for_another_line(shell: Shell) -> None:
    assert shell.run("irq", interrupted(), "time")[1:3] == ["", "up 61.50 s\n"]


def test_a_console_that_dies_is_asked_and_told_again(shell: Shell) -> None:
    def dies(script: Script) -> None:
        script.deaths = 2

    assert shell.run(died(), "time", prepare=dies)[1] == "up 61.50 s\n"
    assert shell.status == 0
