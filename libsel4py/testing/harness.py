"""Run components in a unit test: `connect`, `run`, signals, background calls, and waiting for events.

Each top-level `connect` makes a fake kernel of its own and puts everything back at its end; a `connect` inside of
another one joins its kernel, so that a test can build a small system of several components.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from typing import Any, Generic, ParamSpec, TypeVar, cast

from libsel4py import aio, runtime
from libsel4py.capabilities import Endpoint, Reply
from libsel4py.context import Component, Uses
from libsel4py.environment import SIGNAL_BADGE, Environment, Provided, Slot, Value
from libsel4py.interface import Interface, endpoint_of, interfaces_of, is_declaration
from libsel4py.lowlevel.cspace import SlotAllocator
from libsel4py.lowlevel.syscalls import installed
from libsel4py.server_loop import ServerLoop
from libsel4py.task import ReceiveSlot, Task, as_task, set_current_task
from libsel4py.testing.fake_kernel import FakeKernel
from libsel4py.testing.fake_objects import FakeCap, FakeEndpoint, FakeNotification, FakeObject, FakeReply, FakeUntyped

Served = TypeVar("Served", bound=Interface)
Item = TypeVar("Item")
Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

FIRST_SLOT = 16
SLOTS = 4000
POOL_BITS = 21
CLIENT_BADGE = 1


class _SharedTask(Task):
    """A component's task. Its one server runs in its clients' threads, so its receive slot is no thread's own."""

    def __init__(self, environment: Environment, first: Task) -> None:
        super().__init__(environment)
        self.slots, self.memory, self.addresses = first.slots, first.memory, first.addresses
        self._receive = ReceiveSlot(first.cnode, first.slots)

    @property
    def receive(self) -> ReceiveSlot:
        return self._receive


class TestSystem:
    """A fake kernel with one capability space that all components of a test share."""

    __test__ = False  # not a test class, whatever pytest makes of its name

    def __init__(self) -> None:
        self.kernel = FakeKernel()
        objects = self.kernel.objects
        objects.put(Slot.TCB, FakeObject("TCB"))
        objects.put(Slot.REPLY, FakeReply())
        objects.put(Slot.POOL, FakeUntyped(POOL_BITS))
        objects.put(Slot.NOTIFICATION, FakeNotification())
        self._first = Task(
            Environment("test", first_free_slot=FIRST_SLOT, free_slots=SLOTS, pool_bits=POOL_BITS, worker_threads=0)
        )
        self.signals: dict[str, int] = {}
        self.lives: dict[FakeEndpoint, Callable[[], None]] = {}

    @property
    def slots(self) -> SlotAllocator:
        return self._first.slots

    @property
    def first_task(self) -> Task:
        return self._first

    def task(self, environment: Environment) -> Task:
        """A task with the shared CNode, slots and memory."""
        return _SharedTask(environment, self._first)

    def new(self, made: object, badge: int = 0) -> int:
        """Put an object's capability into a free slot; returns the slot."""
        slot = self.slots.allocate()
        self.kernel.objects.put(slot, made, badge)
        return slot


_active: TestSystem | None = None


@contextmanager
def system() -> Iterator[TestSystem]:
    """The test's fake system: the one that is active already, or a new one for the length of the block."""
    global _active
    if _active is not None:
        yield _active
        return
    with ExitStack() as stack:
        made = TestSystem()
        stack.enter_context(installed(made.kernel))
        former = set_current_task(made.first_task)
        stack.callback(set_current_task, former)
        _active = made
        try:
            yield made
        finally:
            _active = None


def _environment(
    made: TestSystem,
    cls: type[Component],
    interfaces: list[type[Interface]],
    endpoint: int,
    configuration: Mapping[str, Value] | None,
    signals: tuple[str, ...],
    client: str,
) -> Environment:
    signals = (*signals, *runtime.signal_names(cls))
    for name in signals:
        made.signals.setdefault(name, 1 << len(made.signals))
    provides = {
        interface.interface_name.lower(): Provided(endpoint, interface.interface_name, {CLIENT_BADGE + index: client})
        for index, interface in enumerate(interfaces)
    }
    return Environment(
        cls.__module__.rpartition(".")[2] or cls.__name__,
        provides=provides,
        signals={name: made.signals[name] for name in signals},
        configuration=dict(configuration or {}),
    )


def _use(stack: ExitStack, uses: Mapping[str, Interface | type[Interface]] | None) -> dict[str, Interface]:
    """Connections for a component: clients as they are; implementations are served by the fake kernel."""
    clients = {}
    for name, given in (uses or {}).items():
        is_client = isinstance(given, Interface) and is_declaration(type(given))
        clients[name] = cast(Interface, given) if is_client else stack.enter_context(connect(given))
    return clients


@contextmanager
def connect(
    implementation: type[Served] | Served,
    *,
    uses: Mapping[str, Interface | type[Interface]] | None = None,
    configuration: Mapping[str, Value] | None = None,
    signals: tuple[str, ...] = (),
    client: str = "test",
    interface: type[Interface] | None = None,
) -> Iterator[Served]:
    """A client of a component, which runs in this process behind a fake kernel.

    Calls go through the same packing, dispatch and exceptions as between real tasks; a method runs in the thread
    of the test, so a debugger and ``pytest.raises`` work as ever. ``start()`` has run when the block begins.

        with connect(Main) as greeter:
            assert greeter.greet("ada") == "hello ada"

    Args:
        implementation: the component's class, or an instance that you have made.
        uses: what its connections lead to: client stubs, or implementations that are to be served too.
        configuration: the settings of its system description. signals: names for `send_signal`, beside
            those that the class handles with ``@on_notification``.
        client: the caller's name that it sees. interface: which one, if it implements several.
    """
    with system() as made, ExitStack() as stack:
        cls = implementation if isinstance(implementation, type) else type(implementation)
        interfaces = interfaces_of(cls)
        endpoint = FakeEndpoint()
        slot = made.new(endpoint)
        environment = _environment(made, cls, interfaces, slot, configuration, signals, client)
        clients = _use(stack, uses)

        def begin() -> None:
            """A life of the server."""
            task = made.task(environment)
            instance = runtime.make(cls, task) if isinstance(implementation, type) else implementation
            if instance._task is not None:
                task.keeper = instance._task.keeper
            instance._task, instance._uses = task, Uses(clients)
            server = runtime.make_server(instance, task)
            reply = Reply(made.new(FakeReply()))
            loop = ServerLoop(server, reply.cptr)

            def step() -> None:
                with as_task(task):
                    loop.step()

            starter: Callable[[], None] | None = getattr(instance, "start", None)
            if starter is not None:
                with as_task(task):
                    starter()
            made.kernel.attend(endpoint, step)
            made.kernel.end_life(endpoint)

        begin()
        if isinstance(implementation, type):
            made.lives[endpoint] = begin
        wanted = interface or interfaces[0]
        badged = made.slots.allocate()
        made.kernel.objects.caps[badged] = FakeCap(endpoint, CLIENT_BADGE + interfaces.index(wanted), slot)
        yield cast(Served, wanted(Endpoint(badged)))


def run(
    cls: type[Component],
    *,
    uses: Mapping[str, Interface | type[Interface]] | None = None,
    configuration: Mapping[str, Value] | None = None,
) -> int:
    """Run a program component (one with ``run()``) to its end; returns its exit status."""
    with system() as made, ExitStack() as stack:
        task = made.task(_environment(made, cls, [], 0, configuration, (), ""))
        clients = _use(stack, uses)
        instance: Any = runtime.make(cls, task)
        instance._uses = Uses(clients)
        starter: Callable[[], None] | None = getattr(instance, "start", None)
        if starter is not None:
            starter()
        status: int | None = instance.run()
        return status or 0


def server_of(stub: Interface) -> tuple[FakeEndpoint, Callable[[], None]]:
    """The endpoint of a server that `connect` has made of a class, and what begins another life of it."""
    if _active is None:
        raise LookupError("there is no system: call this inside of a connect block")
    endpoint = _active.kernel.objects.caps[endpoint_of(stub).cptr].object
    if not isinstance(endpoint, FakeEndpoint) or endpoint not in _active.lives:
        raise LookupError(f"{stub!r} leads to no server that `connect` has made of a class")
    return endpoint, _active.lives[endpoint]


def restart(stub: Interface) -> None:
    """End the server behind a client of `connect`, or behind a capability that it gave out, and start it again."""
    server_of(stub)[1]()


def die_with(stub: Interface, method: str, *, done: bool) -> None:
    """Let the server die with the next call of this method, whoever makes it, and be started again.

    The caller gets `ServerDied`. ``done``: what was asked for is done when the server dies; else nothing of it.
    """
    endpoint, begin = server_of(stub)
    label, step = stub.interface_methods[method].label, endpoint.step
    assert step is not None  # it is served

    def serve() -> None:
        request = endpoint.queue[0] if endpoint.queue else None
        if request is None or request.label != label:
            step()
            return
        if done:
            step()
        else:
            endpoint.queue.popleft()
        begin()
        request.died = True

    endpoint.step = serve


def send_signal(name: str) -> None:
    """Raise a signal that `connect` was given by name; its handlers have run when this returns."""
    if _active is None or name not in _active.signals:
        raise LookupError(f"no signal {name!r}: name it in connect(..., signals=({name!r},)) and call inside the block")
    _active.kernel.signal(SIGNAL_BADGE | _active.signals[name])


def in_background(
    function: Callable[Parameters, Result], *args: Parameters.args, **kwargs: Parameters.kwargs
) -> Future[Result]:
    """Make a call that will wait (a deferred reply, say) on a thread of its own; ``.result(timeout)`` fetches it."""
    future: Future[Result] = Future()

    def call() -> None:
        try:
            future.set_result(function(*args, **kwargs))
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=call, name=f"background {function!r}", daemon=True).start()
    return future


@contextmanager
def worker_threads(count: int) -> Iterator[None]:
    """Give the block ``count`` threads for `libsel4py.aio.call`; they have ended when it is left."""
    threads = [threading.Thread(target=aio.workers.serve, name=f"worker {number}") for number in range(count)]
    aio.workers.expect(count)
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        aio.workers.close()
        for thread in threads:
            thread.join()
        aio.workers.expect(0)


class Events(Generic[Item]):
    """What happened, in order; tests wait for it instead of sleeping."""

    def __init__(self) -> None:
        self._items: list[Item] = []
        self._added = threading.Condition()

    def add(self, item: Item) -> None:
        with self._added:
            self._items.append(item)
            self._added.notify_all()

    @property
    def all(self) -> list[Item]:
        with self._added:
            return list(self._items)

    def wait_for(self, wanted: Callable[[Item], bool], timeout: float = 10.0) -> Item:
        """The first item for which ``wanted`` holds.

        Raises:
            TimeoutError: none came in ``timeout`` seconds; the text shows what came instead.
        """
        with self._added:
            if not self._added.wait_for(lambda: any(map(wanted, self._items)), timeout):
                raise TimeoutError(f"no such event in {timeout} s; there were {self._items}")
            return next(item for item in self._items if wanted(item))
