"""The management client against a ROUTER in a thread, well-behaved and not."""

from __future__ import annotations

import os
import resource
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
import zmq

from deploy.management import MOST_CLOSING, Management, ManagementError, NotAnswering, Refused
from deploy.runtime import system_folder
from tests.unit.deploy.conftest import FakeSystems

Answer = Callable[[dict[str, object]], bytes | None]


def packed(**reply: object) -> bytes:
    return msgspec.msgpack.encode(reply)


@contextmanager
def router(folder: Path, answer: Answer, delimited: bool = True) -> Iterator[None]:
    """Answers requests in a thread until the block is left; ``answer`` may give None for no reply."""
    context = zmq.Context[zmq.Socket[bytes]]()
    socket = context.socket(zmq.ROUTER)
    socket.bind(f"ipc://{folder / 'management'}")
    stop, stopped = context.socket(zmq.PAIR), context.socket(zmq.PAIR)
    stop.bind("inproc://stop")
    stopped.connect("inproc://stop")

    def serve() -> None:
        poller = zmq.Poller()
        poller.register(socket, zmq.POLLIN)
        poller.register(stopped, zmq.POLLIN)
        while stopped not in dict(poller.poll()):
            identity, *_, data = socket.recv_multipart()
            reply = answer(msgspec.msgpack.decode(data, type=dict[str, object]))
            if reply is not None:
                socket.send_multipart([identity, *([b""] if delimited else []), reply])

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        stop.send(b"")
        thread.join()
        context.destroy(linger=0)


@pytest.mark.parametrize("delimited", [True, False])
def test_request_and_result(runtime: Path, delimited: bool) -> None:
    folder = system_folder("one")
    seen = []

    def answer(request: dict[str, object]) -> bytes:
        seen.append(request)
        return packed(ok=True, result=[1, 2])

    with router(folder, answer, delimited), Management(folder) as management:
        assert management.request("kill", task="shell") == [1, 2]
    assert seen == [{"op": "kill", "task": "shell"}]


def test_refusal_carries_its_reason(runtime: Path) -> None:
    folder = system_folder("one")
    with (
        router(folder, lambda _: packed(ok=False, error="no task")),
        Management(folder) as management,
        pytest.raises(Refused, match=r"^no task$"),
    ):
        management.request("ps")


@pytest.mark.parametrize("garbage", [b"", b"\xc1", b"\x91\x01", packed(result=3), packed(ok="yes"), b"\x91" * 5000])
def test_garbage_is_an_error_that_says_so(runtime: Path, garbage: bytes) -> None:
    folder = system_folder("one")
    with (
        router(folder, lambda _: garbage),
        Management(folder) as management,
        pytest.raises(ManagementError, match="no reply"),
    ):
        management.request("ps")


def test_what_is_no_text_is_refused_before_it_is_sent(runtime: Path) -> None:
    with (
        Management(system_folder("one"), 0.1) as management,
        pytest.raises(ManagementError, match=r"'/tmp/\\udcff' is not UTF-8, and cannot be handed over"),
    ):
        management.request("image", file=os.fsdecode(b"/tmp/\xff"))


def test_silence_is_an_error_that_says_what_to_do(runtime: Path) -> None:
    folder = system_folder("one")
    with (
        router(folder, lambda _: None),
        Management(folder, seconds=0.1) as management,
        pytest.raises(NotAnswering, match=r"did not answer 'ps' within 0.1 s.*down --force"),
    ):
        management.request("ps")


def test_what_takes_long_is_not_waited_for_where_nothing_is_answered(runtime: Path) -> None:
    folder = system_folder("one")
    with (
        router(folder, lambda _: None),
        Management(folder, seconds=0.1) as management,
        pytest.raises(NotAnswering, match=r"did not answer 'status' within 0.1 s"),
    ):
        management.request_long("suspend", 600.0)


def test_what_takes_long_is_waited_for_where_something_is(runtime: Path) -> None:
    folder, asked = system_folder("one"), []

    def answer(request: dict[str, object]) -> bytes | None:
        asked.append(request)
        return packed(ok=True) if request["op"] == "status" else None

    with (
        router(folder, answer),
        Management(folder, seconds=10.0) as management,
        pytest.raises(NotAnswering, match=r"did not answer 'image' within 0.1 s"),
    ):
        management.request_long("image", 0.1, file="/ram")
    assert asked == [{"op": "status"}, {"op": "image", "file": "/ram"}]


def test_wait_up_asks_until_the_system_is_up(runtime: Path) -> None:
    folder = system_folder("one")
    states = iter(["starting", "starting", "up"])
    life, alive = os.pipe()
    try:
        with (
            router(folder, lambda _: packed(ok=True, result={"state": next(states)})),
            Management(folder) as management,
        ):
            management.wait_up(life, 10)
        assert list(states) == []
    finally:
        os.close(life)
        os.close(alive)


def test_wait_up_ends_when_the_monitor_does(runtime: Path) -> None:
    life, alive = os.pipe()
    os.close(alive)
    try:
        with Management(system_folder("one")) as management, pytest.raises(ManagementError, match="ended before"):
            management.wait_up(life, 10)
    finally:
        os.close(life)


def test_events_are_told_and_garbage_is_skipped(runtime: Path) -> None:
    folder = system_folder("one")
    context = zmq.Context[zmq.Socket[bytes]]()
    try:
        publisher = context.socket(zmq.XPUB)
        publisher.bind(f"ipc://{folder / 'events'}")
        with Management(folder) as management:
            events = management.events(0.01)
            assert next(events) is None
            assert publisher.recv() == b"\x01"
            publisher.send(b"\xc1")
            publisher.send(packed(event="died", task="ping"))
            assert next(event for event in events if event) == {"event": "died", "task": "ping"}
            events.close()
    finally:
        context.destroy(linger=0)


@pytest.mark.slow
def test_requests_without_end_have_few_descriptors(runtime: Path) -> None:
    """Sockets are closed behind the caller's back: who asks faster than that, as chaos does, must wait for it."""
    before = len(os.listdir("/proc/self/fd"))
    with Management(system_folder("one"), seconds=0) as management:
        for _ in range(50 * MOST_CLOSING):
            with pytest.raises(NotAnswering):
                management.request("status")
        assert len(os.listdir("/proc/self/fd")) < before + 8 * MOST_CLOSING


def test_a_host_that_gives_no_descriptor_to_ask_by_is_told_of(systems: FakeSystems) -> None:
    """A limit below what is open already: the next one is refused, however many a client has by then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with Management(systems.start("one").folder) as management:
        assert management.request("ps")
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        try:
            with pytest.raises(ManagementError) as told:
                management.request("ps")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert str(told.value) == "the system one cannot be asked: Too many open files"
        assert management.request("ps")
