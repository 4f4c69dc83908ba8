"""A component's life: from its first system call to its last.

    @component
    class Main(Greeter):
        def greet(self, name: str) -> str:
            return f"hello {name}"

The module is not called as its decorator is, so that ``from libsel4py import component`` gives the decorator.

Order: ask the parent for the environment; make the task's allocators; make ``self``; ``prepare()`` if there is one;
where the process stands by, wait until it is to take over; ``start()`` if there is one; then ``run()`` for a program,
or serve everything that the system description says is provided. A process that stands by holds none of its task's
capabilities before, so ``__init__`` and ``prepare()`` of such a task invoke none. When ``main`` returns
the process exits with status 0; an int that ``run()`` returns is the exit status; an exception leaves ``main``, and
the host turns it into a fault message with its text in the task's log.

Rules: a component never polls. It waits at one place, its endpoint, where messages and signals arrive.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar

from libsel4py import aio, dispatch
from libsel4py.capabilities import Endpoint, Notification, Reply
from libsel4py.context import Component, Uses
from libsel4py.environment import COMPLAINTS_INTERFACE, SIGNAL_BADGE, Environment, Slot
from libsel4py.interface import Interface, find_interface, interfaces_of, is_declaration
from libsel4py.interfaces.parent import Parent
from libsel4py.server import Server, Stranger
from libsel4py.server_loop import listening, wait_to_serve
from libsel4py.signature import Repeat
from libsel4py.task import Task, set_current_task

Kind = TypeVar("Kind", bound=type[Component])
Handler = TypeVar("Handler", bound=Callable[..., None])
HOOKS: Final = ("prepare", "start", "run", "on_signal")  # what the SDK calls by name, so no client may


def component(cls: Kind) -> Kind:
    """Make a class the boot image of its module: gives the module a ``main`` unless it has one.

    Raises:
        TypeError: the class declares an interface, lacks a method of one, both serves and runs, or serves a method that
            is called like one of `HOOKS`.
    """
    if is_declaration(cls):
        raise TypeError(f"{cls.__name__} declares an interface: implement it in a subclass and decorate that")
    for interface in interfaces_of(cls):
        for name in interface.interface_methods:
            if getattr(cls, name) is getattr(interface, name):
                raise TypeError(f"{cls.__name__} does not implement {interface.__name__}.{name}")
            if name in HOOKS:
                raise TypeError(f"{interface.__name__}.{name} is called like what the SDK calls by itself: rename it")
        dispatch.prepare(interface.interface_methods.values())
    if interfaces_of(cls) and hasattr(cls, "run"):
        raise TypeError(f"{cls.__name__} has run() and an interface: a server has no run(); use start() or a thread")
    module = sys.modules[cls.__module__]
    if not hasattr(module, "main"):
        module.main = lambda *arguments: main(cls, *arguments)  # type: ignore[attr-defined]  # what the host calls
    if not hasattr(module, "thread"):
        module.thread = _enter_thread  # type: ignore[attr-defined]  # what the host calls for further threads
    return cls


def on_notification(name: str) -> Callable[[Handler], Handler]:
    """Call this method when the signal of that name (a device's interrupt, or an entry of ``signals``) arrives.

    The method takes ``self`` and nothing else. Signals without a method go to ``on_signal(self, bits)``.
    """

    def decorate(function: Handler) -> Handler:
        function.__sel4py_signal__ = name  # type: ignore[attr-defined]  # read by _signal_handlers
        return function

    return decorate


def main(cls: type[Component], *arguments: int) -> None:
    """Run a component class as this process. ``arguments`` are the boot image's six words.

    Raises:
        SystemExit: ``run()`` returned a status that is not 0.
    """
    environment = Parent(Endpoint(Slot.PARENT)).environment()
    status = start(cls, environment)
    if status:
        raise SystemExit(status)


def start(cls: type[Component], environment: Environment) -> int:
    """Run a component class in an environment; returns its exit status when it ends."""
    log_to_stderr(environment.name, str(environment.configuration.get("log_level", "INFO")))
    task = Task(environment)
    set_current_task(task)
    aio.workers.expect(environment.worker_threads)
    instance = make(cls, task)
    prepare: Callable[[], None] | None = getattr(instance, "prepare", None)
    if prepare is not None:
        prepare()
    # What a server remembers is in the task's state, and is read where the server is made.
    waits_early = environment.stands_by and environment.state and _remembers(cls)
    if waits_early:
        _wait_to_take_over(instance, environment)
    server = make_server(instance, task)
    if environment.stands_by and not waits_early:
        _wait_to_take_over(instance, environment)
    if environment.stands_by and environment.paged:  # only now is it known who has outlived the former process
        task.environment = Parent(Endpoint(Slot.PARENT)).environment()
    starter: Callable[[], None] | None = getattr(instance, "start", None)
    if starter is not None:
        starter()
    _Threads.released.set()
    runner: Callable[[], int | None] | None = getattr(instance, "run", None)
    if runner is not None:
        return runner() or 0
    if environment.provides:
        server.serve(Reply(Slot.REPLY), to_the_end=True)
    elif list(_signal_handlers(instance)):
        _wait_for_signals(server, task)
    return 0


def _remembers(cls: type[Component]) -> bool:
    """Whether it answers a method by what the task's state has."""
    methods = [method for each in interfaces_of(cls) for method in each.interface_methods.values()]
    return any(method.repeat is Repeat.REMEMBERED for method in methods)


def _wait_to_take_over(instance: Any, environment: Environment) -> None:
    """Stand by. What serves takes its clients' channels as soon as it takes over."""
    waits_for = Notification(Slot.TAKEOVER)
    if environment.provides and not hasattr(instance, "run"):
        wait_to_serve(waits_for, _endpoint_of(environment))
    else:
        waits_for.wait()


def _endpoint_of(environment: Environment) -> Endpoint:
    """What a task serves. Raises TypeError: the description gives it several endpoints."""
    endpoints = {provided.cptr for provided in environment.provides.values()}
    if len(endpoints) > 1:
        raise TypeError(f"{environment.name} was given endpoints {sorted(endpoints)}: a thread can receive on one only")
    return Endpoint(endpoints.pop() if endpoints else 0)


def make(cls: type[Component], task: Task) -> Any:
    """An instance with its task and connections in place before ``__init__`` runs."""
    instance = cls.__new__(cls)
    instance._task = task
    instance._uses = Uses({}, task.environment.connections, lambda name: _connect(task, name))
    instance.__init__()  # type: ignore[misc]  # attributes must be there before it
    return instance


def _connect(task: Task, name: str) -> Interface:
    connection = task.environment.connections[name]
    interface = find_interface(connection.interface)
    task.channels.offer(Endpoint(connection.cptr), connection.channel)
    stub = interface(Endpoint(connection.cptr))
    if not connection.complains_of:
        return stub
    from libsel4py.complaints import Complainer, judge  # for few tasks, whose start takes longer by it
    from libsel4py.interfaces.complaints import Complaints

    heard_by = next(each for each in task.environment.connections.values() if each.interface == COMPLAINTS_INTERFACE)
    return judge(stub, Complainer(Complaints(Endpoint(heard_by.cptr)), connection.complains_of))


def make_server(instance: Any, task: Task) -> Server:
    """The server of a component: its endpoint, what it provides, and its signal handlers.

    Raises:
        TypeError: the description says that the task provides an interface that the class does not implement, or
            gives it several endpoints.
    """
    environment = task.environment
    instance._server = server = Server(_endpoint_of(environment), task)
    implemented = {cls.interface_name: cls for cls in interfaces_of(type(instance))}
    for name, provided in environment.provides.items():
        interface = implemented.get(provided.interface.rpartition(":")[2])
        if interface is None:
            raise TypeError(
                f"{task.name} is to provide {provided.interface} as {name!r}, but {type(instance).__name__} implements "
                f"{', '.join(implemented) or 'no interface'}: correct the system description, or implement it"
            )
        server.provide(instance, interface, name=name, clients=provided.clients)
    for bits, handler in _signal_handlers(instance):
        server.on_signal(bits, handler)
    stranger: Stranger | None = getattr(instance, "on_stranger", None)
    if stranger is not None:
        server.on_stranger(stranger)
    return server


def signal_names(cls: type) -> dict[str, str]:
    """The signals that a class handles with `on_notification`, each with its method's name."""
    found = {}
    for name in dir(cls):
        signal: str | None = getattr(getattr(cls, name, None), "__sel4py_signal__", None)
        if signal is not None:
            found[signal] = name
    return found


def _signal_handlers(instance: Any) -> Iterator[tuple[int, Callable[[int], None]]]:
    """(bits, handler) of each decorated method; (0, handler) for ``on_signal``."""
    for signal, name in signal_names(type(instance)).items():
        yield _signal_bits(instance.task.environment, signal), _ignore_bits(getattr(instance, name))
    others: Callable[[int], None] | None = getattr(instance, "on_signal", None)
    if others is not None:
        yield 0, others


def _signal_bits(environment: Environment, name: str) -> int:
    device = environment.devices.get(name)
    bits = environment.signals.get(name, device.signal if device is not None else 0) & ~SIGNAL_BADGE
    if not bits:
        known = ", ".join(sorted({*environment.signals, *environment.devices})) or "none"
        raise LookupError(f"{environment.name} waits for signal {name!r}, but is given {known}: add the device to it")
    return bits


def _ignore_bits(method: Callable[[], None]) -> Callable[[int], None]:
    return lambda bits: method()


def _wait_for_signals(server: Server, task: Task) -> None:
    with listening(task.notification):
        while not server.stopping:
            server.signalled(task.notification.wait())


class _Threads:
    """What the task's further threads do. They wait until ``start()`` is over, since it may decide that."""

    entry: Callable[[], None] = staticmethod(aio.workers.serve)
    released = threading.Event()


def set_thread_entry(entry: Callable[[], None]) -> None:
    """Say what the task's further threads run; call it in ``start()``. Without it they serve `libsel4py.aio.call`."""
    _Threads.entry = staticmethod(entry)


def _enter_thread(*arguments: int) -> int:
    """A further thread of the process; the host may start it before ``main`` has got anywhere."""
    _Threads.released.wait()
    _Threads.entry()
    return 0


def log_to_stderr(name: str, level: str = "INFO") -> None:
    """Send the process's log to stderr, which the host keeps as the task's log file."""
    logging.basicConfig(stream=sys.stderr, level=level.upper(), format=f"{name} %(levelname)s: %(message)s", force=True)


__all__ = ["Component", "component", "main", "make", "make_server", "on_notification", "set_thread_entry", "start"]
