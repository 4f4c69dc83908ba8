# mypy: disable-error-code="empty-body"
"""What the shell says to a person when a command fails."""

from __future__ import annotations

import pytest

from apps.shell import session as sessions
from apps.shell.session import CommandError, Session, describe
from libsel4py import DEFER, Interface, Timeout, component
from libsel4py.capabilities import Endpoint
from libsel4py.context import Uses
from libsel4py.interface import endpoint_of
from libsel4py.testing import connect


class Silent(Interface):
    """Keeps its callers waiting."""

    def answer(self) -> str: ...


@component
class Main(Silent):
    def answer(self) -> str:
        self.defer_reply()
        return DEFER


class Directory:
    """A names server that knows one service."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    def lookup(self, name: str) -> tuple[str, Endpoint]:
        return f"{__name__}:Silent", self._endpoint


def test_a_server_that_does_not_answer_gives_the_shell_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "ANSWER_SECONDS", 0.01)
    with connect(Main) as server:
        session = Session.begin(None, Directory(endpoint_of(server)), None, "shell", Uses({}))  # type: ignore[arg-type]
        found = session.service("silent")
        assert isinstance(found, Silent)
        with pytest.raises(Timeout) as waited:
            found.answer()
    assert describe(waited.value).startswith("no answer within")
    assert "why TASK" in describe(waited.value)


def test_a_command_that_was_wrong_is_told_as_it_is() -> None:
    assert describe(CommandError("name a task; ps lists them")) == "name a task; ps lists them"
    assert describe(ValueError("no")) == "ValueError: no"
