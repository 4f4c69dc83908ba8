# mypy: disable-error-code="empty-body"
"""A component's life, the environment, and the testing kit itself."""

from __future__ import annotations

import logging
import sys
import threading
import types
from typing import Any

import pytest

import tests.unit.sdk.services as services
from libsel4py import Component, Endpoint, Interface, Word, component, on_notification, runtime, uses
from libsel4py.environment import SIGNAL_BADGE, Connection, Device, Environment, Provided, Slot
from libsel4py.interface import interfaces_of
from libsel4py.interfaces.clock import Clock
from libsel4py.interfaces.console import Console
from libsel4py.interfaces.names import Names, UnknownName
from libsel4py.interfaces.parent import Parent
from libsel4py.interfaces.ping import Ping
from libsel4py.interfaces.serial import Serial
from libsel4py.interfaces.system import System, TaskInfo
from libsel4py.lowlevel.syscalls import installed
from libsel4py.runtime import main, start
from libsel4py.task import current_task, set_current_task
from libsel4py.testing import Events, FakeKernel, TestSystem, connect, in_background, run, send_signal
from libsel4py.testing.fake_objects import FakeEndpoint, FakeNotification, FakeReply
from tests.unit.sdk.services import Middle, Painter, Studio

BADGE = 3
CONSOLE = "libsel4py.interfaces.console:Console"


class Root(Parent):
    """A parent that gives everyone the same world."""

    def __init__(self, environment: Environment) -> None:
        self.given = environment
        self.codes: list[int] = []

    def environment(self) -> Environment:
        return self.given

    def exit(self, code: int) -> None:
        self.codes.append(code)


class Loud(Console):
    """A console that keeps what is written."""

    def __init__(self) -> None:
        self.pieces: list[str] = []

    def write_piece(self, text: str) -> None:
        self.pieces.append(text)

    def read_line(self, prompt: str, echo: bool = True, history: bool = True) -> str:
        return f"{prompt}{echo}{history}"

    def columns(self) -> int:
        return 80

    def wait_interrupt(self, command: Word) -> bool:
        return False

    def end_command(self, command: Word) -> None:
        return


@component
class Hello(Component):
    console = uses(Console)

    def run(self) -> int:
        self.console.write(f"hello from {self.task.name}, {self.console.read_line('? ', history=False)}")
        self.log.info("said hello")
        return 3


def _put_parent(fake: TestSystem, environment: Environment) -> Root:
    """A parent behind Slot.PARENT, attended to by the fake kernel."""
    root = Root(environment)
    with connect(root) as client:
        cap = fake.kernel.objects.caps[client._cptr]
        fake.kernel.objects.caps[Slot.PARENT] = cap
    return root


def test_main_asks_its_parent_runs_and_exits(fake: TestSystem, caplog: pytest.LogCaptureFixture) -> None:
    loud = Loud()
    with connect(loud) as console:
        long_name = "x" * 2000
        environment = Environment(
            long_name, {"console": Connection(console._cptr, "libsel4py.interfaces.console:Console")}
        )
        _put_parent(fake, environment)
        with pytest.raises(SystemExit) as ended:
            main(Hello, 1, 2, 3)
    assert ended.value.code == 3
    assert "".join(loud.pieces) == f"hello from {long_name}, ? TrueFalse"
    assert max(map(len, loud.pieces)) == 220


def test_the_decorator_gives_its_module_a_main(monkeypatch: pytest.MonkeyPatch) -> None:
    assert callable(services.main)  # type: ignore[attr-defined]  # made by @component
    module = types.ModuleType("a_component")
    monkeypatch.setitem(sys.modules, "a_component", module)
    module.main = 7  # type: ignore[attr-defined]
    component(type("Main", (Component,), {"__module__": "a_component", "run": lambda self: None}))
    assert module.main == 7
    with pytest.raises(TypeError, match=r"has run\(\) and an interface"):
        component(type("Both", (Loud,), {"__module__": "a_component", "run": lambda self: None}))


def test_a_server_component_serves_what_the_description_says() -> None:
    """The whole life on real threads: environment, start, serve, signal, stop."""
    kernel = FakeKernel()
    endpoint = FakeEndpoint()
    kernel.objects.put(20, endpoint)
    kernel.objects.put(21, endpoint, badge=BADGE)
    kernel.objects.put(Slot.REPLY, FakeReply())
    kernel.objects.put(Slot.NOTIFICATION, FakeNotification())
    environment = Environment(
        "pinger",
        provides={"ping": Provided(20, "libsel4py.interfaces.ping:Ping", {BADGE: "shell"})},
        devices={"uart": Device(signal=4)},
        first_free_slot=100,
        free_slots=10,
    )
    seen: Events[str] = Events()

    class Pinger(Ping):
        def start(self) -> None:
            seen.add(f"start {self.task.name}")

        def ping(self, value: int) -> int:
            seen.add(f"ping from {self.caller.name} for {self.caller.provided}")
            return value

        def count(self) -> int:
            return len(seen.all)

        @on_notification("uart")
        def interrupt(self) -> None:
            seen.add("uart")

        def on_signal(self, bits: int) -> None:
            seen.add(f"signal {bits:#x}")
            raise SystemExit  # ends the loop

    former = current = None
    with installed(kernel):
        try:
            former = set_current_task(None)
            server = threading.Thread(target=_until_exit, args=(Pinger, environment))
            server.start()
            assert Ping(Endpoint(21)).ping(-4) == -4
            kernel.signal(SIGNAL_BADGE | 4)
            seen.wait_for(lambda event: event == "uart")
            kernel.signal(SIGNAL_BADGE | 8)
            server.join(10)
            current = current_task()
        finally:
            set_current_task(former)
    assert not server.is_alive()
    assert seen.all == ["start pinger", "ping from shell for ping", "uart", "signal 0x8"]
    assert current.name == "pinger"


def _until_exit(cls: type[Component], environment: Environment) -> None:
    try:
        start(cls, environment)
    except SystemExit:
        return


def test_a_component_without_interface_may_live_on_signals(fake: TestSystem) -> None:
    class Watcher(Component):
        def start(self) -> None:
            self.task.notification.signal()

        def on_signal(self, bits: int) -> None:
            raise SystemExit(bits)

    fake.kernel.objects.caps[Slot.NOTIFICATION].badge = SIGNAL_BADGE | 6
    with pytest.raises(SystemExit) as ended:
        start(Watcher, Environment("watcher"))
    assert ended.value.code == 6


@pytest.mark.parametrize(
    ("environment", "complaint"),
    [
        (
            Environment("x", provides={"a": Provided(20, "Clock")}),
            "is to provide Clock as 'a', but Painter implements Studio",
        ),
        (
            Environment("x", provides={"a": Provided(20, "Studio"), "b": Provided(21, "Studio")}),
            r"was given endpoints \[20, 21\]: a thread can receive on one only",
        ),
        (Environment("x", provides={"a": Provided(20, "m:Studio")}), "waits for signal 'bell', but is given none"),
    ],
)
def test_descriptions_that_do_not_match_the_class_are_refused(
    fake: TestSystem, environment: Environment, complaint: str
) -> None:
    with pytest.raises((TypeError, LookupError), match=complaint):
        start(Painter, environment)


def test_connections_are_named_when_missing_or_of_another_kind(fake: TestSystem) -> None:
    with pytest.raises(AttributeError, match=r"this task has no connection 'console': .* gives it none"):
        start(Hello, Environment("x"))
    with pytest.raises(TypeError, match="connection 'console' speaks Clock, and the component wants Console"):
        start(Hello, Environment("x", {"console": Connection(9, "libsel4py.interfaces.clock:Clock")}))
    with pytest.raises(AttributeError, match="no connection 'studio'"), connect(Middle):
        pass


def test_run_and_uses_in_the_testing_kit() -> None:
    loud = Loud()
    assert run(Hello, uses={"console": loud}) == 3
    assert loud.pieces[0].startswith("hello from ")
    with connect(Middle, uses={"studio": Painter}) as middle, connect(Painter) as other:
        assert middle.add_twice(1) == 23
        assert other.add(1, 1) == 2
        assert "studio" in Middle.studio._interface.__name__.lower()


def test_the_testing_kit_cleans_up() -> None:
    with connect(Painter) as studio:
        assert current_task().name == "test"
        assert studio.add(1, 1) == 2
    with pytest.raises(RuntimeError, match="this process has no task yet"):
        current_task()
    with pytest.raises(LookupError, match="no signal 'bell'"):
        send_signal("bell")
    with pytest.raises(TimeoutError, match=r"there were \[1\]"):
        _events(1).wait_for(lambda item: item == 2, timeout=0)


def _events(*items: int) -> Events[int]:
    events: Events[int] = Events()
    for item in items:
        events.add(item)
    return events


def test_an_endless_wait_fails_with_what_it_waited_for() -> None:
    kernel = FakeKernel(patience=0.01)
    kernel.objects.put(20, FakeEndpoint(), badge=1)
    with installed(kernel), pytest.raises(RuntimeError, match=r"waited 0.01 s for an answer to label 1"):
        Studio(Endpoint(20)).add(1, 2)


def test_further_threads_wait_for_start(fake: TestSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    entered: Events[str] = Events()
    monkeypatch.setattr(runtime._Threads, "released", threading.Event())
    monkeypatch.setattr(runtime._Threads, "entry", runtime._Threads.entry)

    monkeypatch.delattr(sys.modules[__name__], "main", raising=False)
    monkeypatch.delattr(sys.modules[__name__], "thread", raising=False)

    @component
    class Threaded(Component):
        def start(self) -> None:
            entry = sys.modules[__name__].thread  # type: ignore[attr-defined]  # the decorator put it there
            self.thread = in_background(entry, 0, 0, 0, 0, 0, 0)
            entered.add("start")
            runtime.set_thread_entry(lambda: entered.add("thread"))

        def run(self) -> None:
            assert self.thread.result(10) == 0

    _put_parent(fake, Environment("threaded", worker_threads=1))
    main(Threaded)
    assert entered.all == ["start", "thread"]


def test_log_lines_name_the_task(capsys: pytest.CaptureFixture[str]) -> None:
    runtime.log_to_stderr("console", "info")
    logging.getLogger("console").info("ready")
    assert capsys.readouterr().err == "console INFO: ready\n"


@pytest.mark.parametrize("interface", [Clock, Console, Names, Parent, Ping, Serial, System])
def test_shipped_interfaces_are_documented(interface: type[Interface]) -> None:
    assert interfaces_of(interface) == [interface]
    for name in interface.interface_methods:
        assert getattr(interface, name).__doc__, f"{interface.__name__}.{name} says nothing"


def test_names_and_system_carry_what_they_declare(fake: TestSystem) -> None:
    class Directory(Names):
        def lookup(self, name: str) -> tuple[str, Endpoint]:
            raise UnknownName(name)

        def services(self) -> list[Any]:
            return []

        def register(self, name: str, interface: str, service: Endpoint) -> None:
            self.service = service

        def unregister(self, name: str) -> None:
            raise UnknownName(name)

    with connect(Directory) as names:
        with pytest.raises(UnknownName, match="fs"):
            names.lookup("fs")
        names.register("clock", "Clock", Endpoint(fake.new(FakeEndpoint())))

    class Instruments(System):
        def tasks(self) -> list[TaskInfo]:
            return [TaskInfo(f"task {number}", "image", "running") for number in range(100)]

        def _nothing(self, *arguments: Any, **keywords: Any) -> Any:
            return []

        memory = capabilities = interrupts = task_log = kill = why = uptime = _nothing

    with connect(Instruments) as system:
        assert len(system.tasks()) == 100
        assert system.tasks()[99].name == "task 99"
