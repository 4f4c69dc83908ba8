"""The example that people copy: a server, and a client of it."""

from __future__ import annotations

import pytest

from apps.ping.main import Main as PingMain
from apps.pong.main import Main as PongMain
from libsel4py.testing import connect, run, system
from tests.unit.apps.shell_fakes import Counter


def test_pong_answers_what_it_is_sent_and_counts() -> None:
    with connect(PongMain) as pong:
        assert [pong.ping(value) for value in (0, -1, (1 << 63) - 1)] == [0, -1, (1 << 63) - 1]
        assert pong.count() == 3


def test_ping_calls_as_often_as_its_configuration_says() -> None:
    with system(), connect(PongMain) as pong:
        assert run(PingMain, uses={"pong": pong}, configuration={"rounds": 7}) == 0
        assert pong.count() == 7
        assert run(PingMain, uses={"pong": pong}) == 0
        assert pong.count() == 107


@pytest.mark.parametrize(("wrong_from", "status"), [(50, 1), (100, 0)])
def test_ping_fails_if_an_answer_was_wrong(wrong_from: int, status: int) -> None:
    assert run(PingMain, uses={"pong": Counter(wrong_from)}) == status
