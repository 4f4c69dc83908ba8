# mypy: disable-error-code="empty-body"
"""What each component does when it begins, done for nothing by a process that waits ahead of need.

A process that was forked shares its pages with the one that it was forked from until it writes there: then the host
copies the page, some microseconds each. A component begins with some hundreds of them, while clients wait for it. So
the process does what a beginning does while it is no task yet (`kerneld/host/ahead.py`), with an environment of nobody.

Rules. Nothing is invoked: there is no kernel to ask. All is left as it was found, but for the pages.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Final

from libsel4py import runtime
from libsel4py.abi import message_info
from libsel4py.dispatch import Entry
from libsel4py.environment import Connection, Environment, Provided
from libsel4py.interface import Interface
from libsel4py.interfaces.parent import Parent
from libsel4py.results import decoder, encode
from libsel4py.runtime import component
from libsel4py.signature import Word
from libsel4py.task import Task, set_current_task

NAME: Final = "rehearsal"


class Rehearsed(Interface):
    """An interface with methods of the commonest forms."""

    def number(self, number: Word) -> Word:
        """The same."""

    def record(self, record: dict[str, str]) -> bytes:
        """Some bytes."""


@component
class Main(Rehearsed):
    """A server that nobody calls."""

    def number(self, number: Word) -> Word:
        return number

    def record(self, record: dict[str, str]) -> bytes:
        return record.popitem()[1].encode()


_INTERFACE: Final = f"{__name__}:{Rehearsed.__name__}"
_ENVIRONMENT: Final = Environment(
    NAME,
    connections={NAME: Connection(16, _INTERFACE)},
    provides={NAME: Provided(17, _INTERFACE, {1: NAME})},
    first_free_slot=18,
    free_slots=100,
    pool_bits=20,
)
_decode = decoder(Parent.interface_methods["environment"])


def rehearse() -> Iterator[None]:
    """Begin as a server does, up to its first system call, and answer some requests that nobody has sent.

    Yields after each step: whoever is wanted by then goes on no further, and closes it.
    """
    environment: Environment = _decode(encode(_ENVIRONMENT))
    yield
    root, level = logging.getLogger(), logging.getLogger().level
    handlers = list(root.handlers)
    task = Task(environment)
    former = set_current_task(task)
    try:
        yield
        runtime.log_to_stderr(environment.name)
        yield
        server = runtime.make_server(runtime.make(Main, task), task)
        yield
        _answer(server.connections[1].provided.table)
    finally:
        set_current_task(former)
        for handler in root.handlers[:]:
            root.removeHandler(handler)
        for handler in handlers:
            root.addHandler(handler)
        root.setLevel(level)


def _answer(table: dict[int, Entry]) -> None:
    for name, argument in (("number", 1), ("record", encode(({NAME: NAME},)))):
        method = Rehearsed.interface_methods[name]
        table[method.label].handle(message_info(method.label, 1), argument, 0, 0, 0)
