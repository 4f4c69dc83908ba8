"""A fake kernel for each SDK test that asks for one."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from libsel4py import aio
from libsel4py.lowlevel.syscalls import machine
from libsel4py.testing import TestSystem, system
from tests.unit.sdk.running import Running, make_server, running
from tests.unit.sdk.services import Painter


@pytest.fixture
def fake() -> Iterator[TestSystem]:
    with system() as made:
        yield made


@pytest.fixture(autouse=True)
def process_state() -> Iterator[None]:
    """What the component runtime sets for its whole process comes back after a test."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers, root.level = handlers, level
    aio.workers.expect(0)


@pytest.fixture
def painter() -> Painter:
    return Painter()


@pytest.fixture
def up(fake: TestSystem, painter: Painter) -> Iterator[Running]:
    with running(fake, *make_server(fake, painter)) as made:
        yield made


@pytest.fixture
def pageless(fake: TestSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose keeper never gets a page."""

    def bind(cptr: int, number: int, timeout_ns: int = 0, /) -> None:
        raise LookupError("no page has come")

    monkeypatch.setattr(machine, "channel_bind", bind)
