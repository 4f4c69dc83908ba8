"""Channels by hand: connecting, listening and signalling, and what refuses them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from libsel4py import (
    Channel,
    Endpoint,
    IllegalOperation,
    InvalidCapability,
    Notification,
    ServerDied,
    signal_many,
)
from libsel4py.abi import ObjectType, Status, Syscall
from libsel4py.lowlevel import syscalls
from libsel4py.lowlevel.syscalls import Message, machine
from libsel4py.server_loop import listening
from libsel4py.testing import TestSystem, in_background
from libsel4py.testing.fake_objects import FakeEndpoint, FakeNotification


@pytest.fixture
def notification(fake: TestSystem) -> Iterator[Notification]:
    made = Notification(fake.new(FakeNotification(), badge=6))
    with listening(made):
        yield made


def test_a_notification_is_connected_and_signalled(notification: Notification, fake: TestSystem) -> None:
    channel = Channel(fake.first_task.memory.allocate(ObjectType.CHANNEL).start)
    assert notification.connect(channel) == fake.kernel.objects.channels()[0].number
    notification.signal()
    assert notification.wait() == 6
    channel.disconnect()
    notification.signal()
    assert notification.wait() == 6


def test_many_notifications_are_signalled_at_once(notification: Notification, fake: TestSystem) -> None:
    other = Notification(fake.new(FakeNotification(), badge=8))
    signal_many([notification, other, notification])
    assert (notification.poll(), other.poll()) == (6, 8)
    assert (notification.poll(), other.poll()) == (0, 0)


@pytest.mark.usefixtures("pageless")
def test_a_connection_that_cannot_be_bound_is_undone(notification: Notification, fake: TestSystem) -> None:
    channel = Channel(fake.first_task.memory.allocate(ObjectType.CHANNEL).start)
    with pytest.raises(LookupError, match="no page has come"):
        notification.connect(channel)
    assert fake.kernel.objects.channels()[0].target is None


def test_a_channel_is_connected_once(notification: Notification, fake: TestSystem) -> None:
    channel = Channel(fake.first_task.memory.allocate(ObjectType.CHANNEL).start)
    notification.connect(channel)
    with pytest.raises(IllegalOperation):
        notification.connect(channel)


def test_a_host_that_cannot_wait_for_channels_is_not_listened_on(
    fake: TestSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    def listen(cptr: int, /) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(machine, "channel_listen", listen)
    endpoint = Endpoint(fake.new(FakeEndpoint()))
    with pytest.raises(OSError, match="not implemented"):
        endpoint.listen()
    assert fake.kernel.system_calls == [Syscall.LISTEN, Syscall.LISTEN]
    with listening(endpoint):
        assert endpoint.nb_recv(None) is None


def test_listening_is_refused_with_its_error(fake: TestSystem) -> None:
    with pytest.raises(InvalidCapability, match="the invoked slot is empty"):
        Endpoint(999).listen()
    assert Endpoint(fake.new(FakeEndpoint())).listen() == 1


def test_an_empty_message_is_told_apart_from_none(fake: TestSystem) -> None:
    endpoint = Endpoint(fake.new(FakeEndpoint()))
    assert endpoint.nb_recv(None) is None
    sending = in_background(endpoint.send, Message())
    fake.kernel.wait_for_senders(fake.kernel.objects.caps[endpoint.cptr].object, 1)  # type: ignore[arg-type]
    received = endpoint.nb_recv(None)
    assert received is not None
    assert (received.badge, received.words) == (0, ())
    sending.result(10)


def test_a_completion_says_that_the_server_died() -> None:
    with pytest.raises(ServerDied, match="Call: the server died"):
        syscalls.unpack((Status.SERVER_DIED, 0, 0, 0, 0, 0, 0), "Call")
