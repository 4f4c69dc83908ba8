"""A peer that writes at the words of a channel whenever the other side is about to sleep on them (restless_peer.c).

The other side cannot sleep, and goes on all the same: its time-outs end its waits, and the handlers of its signals run.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hw import cpu
from libsel4py import abi
from libsel4py.abi import Status, Syscall
from tests.unit.channel_peer import ENDPOINT, REPLY, bind, call, listen, pair, receive

TREE = Path(__file__).parents[2]
FLAGS = ("-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared", "-Ihw")
INFO = abi.message_info(1, 1)
CANNOT_END_S = 5  # of a processor, which no wait here uses unless it has no end
TIMEOUT_NS = 100_000_000


class Ring(Exception):
    """The alarm's."""


def on_alarm(*_: object) -> None:
    raise Ring


def until_it_rings(function: Callable[[], Any]) -> str:
    signal.signal(signal.SIGALRM, on_alarm)
    signal.setitimer(signal.ITIMER_REAL, TIMEOUT_NS / 1e9)
    try:
        function()
    except Ring:
        return "rang"
    return "came"


def bounded(function: Callable[[], Any]) -> Callable[[], Any]:
    """A task that is ended by the host if it goes on for too long."""

    def run() -> Any:
        resource.setrlimit(resource.RLIMIT_CPU, (CANNOT_END_S, CANNOT_END_S))
        return function()

    return run


def receive_in_time() -> int:
    return cpu.trap(Syscall.RECV, ENDPOINT, 0, 0, 0, 0, 0, REPLY, 0, TIMEOUT_NS)[0]


def wait_as_server(wait: Callable[[], Any]) -> Any:
    """How a server's wait ends. It has a channel, whose client does not call."""

    def server() -> Any:
        listen()
        return wait()

    with pair() as scene:
        serving, caller = scene.task(bounded(server)), scene.task(signal.pause)
        scene.connect(caller, serving)
        return serving.task.result()


def wait_as_client(wait: Callable[[], Any]) -> Any:
    """How a client's wait for a server ends that does not answer."""

    def client() -> Any:
        bind()
        return wait()

    with pair() as scene:
        caller = scene.task(bounded(client))
        scene.connect(caller)
        return caller.task.result()


SCENES: dict[str, Callable[[], Any]] = {
    "a timed receive": lambda: wait_as_server(receive_in_time),
    "a receive and a signal": lambda: wait_as_server(lambda: until_it_rings(receive)),
    "a timed call": lambda: wait_as_client(lambda: call(INFO, 1, timeout_ns=TIMEOUT_NS)[0]),
    "a call and a signal": lambda: wait_as_client(lambda: until_it_rings(lambda: call(INFO, 1))),
}
EXPECTED = dict(zip(SCENES, (str(Status.CANCELLED), "rang") * 2, strict=True))


@pytest.fixture(scope="module")
def restless_peer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    library = tmp_path_factory.mktemp("restless") / "restless_peer.so"
    source = "tests/stress/restless_peer.c"
    subprocess.run(["gcc", *FLAGS, source, "-o", library, "-ldl"], cwd=TREE, check=True)
    return library


@pytest.mark.parametrize("scene", SCENES)
def test_who_cannot_sleep_waits_no_longer(restless_peer: Path, scene: str) -> None:
    environment = {**os.environ, "LD_PRELOAD": str(restless_peer)}
    program = f"from tests.unit.test_channel_restless import SCENES; print(SCENES[{scene!r}]())"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=TREE, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, EXPECTED[scene]), done.stderr
