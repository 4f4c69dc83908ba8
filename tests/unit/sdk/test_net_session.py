"""A session with the network server that is closed: what finalizers have left to do is done, and nothing stays."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from libsel4py import net_session
from libsel4py.interfaces.network import FOREVER
from libsel4py.lowlevel.collecting import Leftovers
from libsel4py.net_session import Life, NetSession

ENDPOINT, POOL = 5, 6


def session(done: list[object]) -> NetSession:
    made: Any = NetSession.__new__(NetSession)
    made.leftovers = Leftovers()
    made.life = Life(SimpleNamespace(close=lambda: done.append("closed")), 0)  # type: ignore[arg-type]
    made._pool = SimpleNamespace(cptr=POOL)
    made._space = SimpleNamespace(close=lambda: done.append("buffer"))
    memory = SimpleNamespace(free=lambda cptr: done.append(("free", cptr)))
    made._task = SimpleNamespace(delete=lambda cptr: done.append(("delete", cptr)), memory=memory)
    closed: NetSession = made
    return closed


def test_what_finalizers_have_left_is_done_before_the_session_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a socket's file had not sent is sent while there is a session, and slots are given back."""
    monkeypatch.setattr(net_session, "endpoint_of", lambda _: ENDPOINT)
    done: list[object] = []
    closing = session(done)
    closing.leftovers.leave(lambda: done.append("sent"))
    closing.close()
    assert done == ["sent", "closed", ("delete", ENDPOINT), "buffer", ("free", POOL)]


@pytest.mark.parametrize("timeout", [None, 1e10, 1e300, float("inf")])
def test_a_time_limit_that_no_clock_can_tell_is_for_ever(timeout: float | None) -> None:
    assert net_session.time_limit(timeout) == FOREVER


@pytest.mark.parametrize("timeout", [-1, float("-inf"), float("nan")])
def test_a_time_limit_is_a_number_and_not_negative(timeout: float) -> None:
    with pytest.raises(ValueError, match="no less than 0"):
        net_session.time_limit(timeout)
