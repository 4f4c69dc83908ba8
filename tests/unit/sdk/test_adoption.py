# mypy: disable-error-code="empty-body"
"""Open files that are handed to a pager: capabilities that stand for their badge, and who may have what by them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from libsel4py import Endpoint, Interface, Word, component
from libsel4py.capabilities import Unwrapped
from libsel4py.errors import InvalidMessage, ServerDied, Timeout
from libsel4py.interface import endpoint_of
from libsel4py.interfaces.file import (
    Access,
    Adopted,
    DeviceFailed,
    File,
    NotPermitted,
    OpenFlags,
    StaleHandle,
    TooManyOpen,
)
from libsel4py.lowlevel.identify import identify
from libsel4py.pagers.file_store import FileStore, Held
from libsel4py.testing import TestSystem, connect, restart, system
from libsel4py.testing.fake_objects import FakeEndpoint
from libsel4py.testing.file_system import Subject
from libsel4py.testing.file_system.subject import BOTH, READ, WRITE, Client
from servers.ramfs.main import Main

PAGE = 4096
PAGER = {"bytes": 4 << 20, "pager": "test"}


class Doors(Interface):
    def badge_of(self, door: Unwrapped) -> Word:
        """The badge of one of this server's own capabilities."""

    def place(self, door: Unwrapped, where: str) -> str:
        """The same, with what travels as bytes."""


@component
class Keeper(Doors):
    def badge_of(self, door: Unwrapped) -> int:
        assert door.cptr == 0
        return door.badge

    def place(self, door: Unwrapped, where: str) -> str:
        return f"{door.badge} {where}"


@pytest.fixture
def made() -> Iterator[TestSystem]:
    with system() as made:
        yield made


# --- capabilities of the receiver's own endpoint


def test_a_capability_of_the_receivers_own_arrives_as_its_badge(made: TestSystem) -> None:
    with connect(Keeper) as doors:
        own = made.kernel.objects.caps[endpoint_of(doors).cptr].object
        for badge in (0, 77, 1 << 61):
            door = Unwrapped(made.new(own, badge))
            assert doors.badge_of(door) == badge
            assert doors.place(door, "there") == f"{badge} there"
            assert made.first_task.cnode is not None
            assert identify(door.cptr).type == "ENDPOINT"


def test_a_capability_of_another_endpoint_is_refused_and_goes(made: TestSystem) -> None:
    with connect(Keeper) as doors:
        doors.badge_of(Unwrapped(endpoint_of(doors).cptr))
        before = set(made.kernel.objects.caps)
        foreign = Unwrapped(made.new(FakeEndpoint(), 77))
        for _ in range(3):
            with pytest.raises(InvalidMessage, match="of the endpoint that was called"):
                doors.badge_of(foreign)
        with pytest.raises(InvalidMessage):
            doors.place(Unwrapped(0), "nowhere")
        with pytest.raises(TypeError, match="Unwrapped"):
            doors.badge_of(Endpoint(endpoint_of(doors).cptr))  # type: ignore[arg-type]
        assert set(made.kernel.objects.caps) == before | {foreign.cptr}


# --- files of other sessions


@pytest.fixture
def subject(made: TestSystem) -> Iterator[Subject]:
    with connect(Main, configuration=PAGER) as directory:
        yield Subject(directory, made.first_task)


def adopt(pager: Client, file: File) -> Adopted:
    return pager.directory.adopt(Unwrapped(endpoint_of(file).cptr))


def test_an_adopted_file_is_open_for_the_same_and_outlives_the_other_handle(subject: Subject) -> None:
    with subject.client() as client, subject.client() as pager:
        client.put("f", b"bytes")
        client.put("g", b"others")
        file = client.open("f", BOTH)
        adopted, again = adopt(pager, file), adopt(pager, client.open("f", READ))
        other = adopt(pager, client.open("g", READ))
        assert (adopted.size, adopted.writable, again.writable) == (5, True, False)
        assert adopted.which == again.which != other.which
        client.close(file)
        client.directory.remove("f")
        assert pager.directory.read_number(adopted.number, 0, 10, 0) == 5
        assert pager.memory.read(0, 5) == b"bytes"
        pager.memory.write(0, b"BYTES and more")
        assert pager.directory.overwrite_number(adopted.number, 1, 14, 0) == 4
        assert pager.directory.overwrite_number(adopted.number, 5, 1, 0) == 0
        assert pager.directory.overwrite_number(adopted.number, (1 << 64) - 1, 1, 0) == 0
        assert pager.directory.size_number(again.number) == 5
        for act in (pager.directory.overwrite_number, pager.directory.write_number):
            with pytest.raises(NotPermitted):
                act(again.number, 0, 1, 0)
        pager.directory.close_number(adopted.number)
        with pytest.raises(StaleHandle):
            pager.directory.read_number(adopted.number, 0, 1, 0)
        assert pager.directory.read_number(again.number, 0, 10, 0) == 5


def test_what_is_no_open_file_for_reading_is_not_adopted(subject: Subject) -> None:
    with subject.client() as client, subject.client() as pager:
        client.put("f", b"bytes")
        with pytest.raises(NotPermitted, match="reading"):
            adopt(pager, client.open("f", WRITE))
        appended = adopt(pager, client.open("f", BOTH | OpenFlags.APPEND))
        pager.memory.write(0, b"B")
        assert pager.directory.overwrite_number(appended.number, 0, 1, 0) == 1
        assert client.get("f") == b"Bytes"
        file = client.open("f")
        file.close()
        with pytest.raises(StaleHandle):
            adopt(pager, file)
        with pytest.raises(StaleHandle):
            pager.directory.adopt(Unwrapped(endpoint_of(client.directory).cptr))
        with pytest.raises(NotPermitted, match="session"):
            subject.directory.adopt(Unwrapped(endpoint_of(client.open("f")).cptr))


def test_nobody_but_the_pager_that_is_named_adopts(made: TestSystem) -> None:
    for named in ("", "other"):
        with (
            connect(Main, configuration={"pager": named}) as directory,
            Subject(directory, made.first_task).client() as client,
            pytest.raises(NotPermitted, match="pager"),
        ):
            adopt(client, client.open("f"))


def test_who_handed_on_a_subtree_takes_back_what_was_adopted_of_it(subject: Subject) -> None:
    with subject.client() as giver, subject.client() as pager:
        giver.put("f", b"bytes")
        with subject.narrowed(giver.directory, "", Access.READ) as narrowed:
            with subject.client(narrowed) as client:
                adopted = adopt(pager, client.open("f", READ))
            assert pager.directory.read_number(adopted.number, 0, 5, 0) == 5
        giver.pool.take_back()
        with pytest.raises(StaleHandle):
            pager.directory.read_number(adopted.number, 0, 5, 0)


def test_adopted_files_are_counted_as_the_sessions_own(subject: Subject) -> None:
    with subject.client() as client, subject.client(pool_bits=13) as pager:
        file = client.open("f")
        for _ in range(8):
            adopt(pager, file)
        with pytest.raises(TooManyOpen):
            adopt(pager, file)
        assert client.get("f") == b""


# --- a pager's session


def held(store: FileStore, adopted: Adopted) -> Held:
    return Held(store.life, adopted.number, adopted.which, adopted.writable)


def test_a_store_reads_and_writes_and_goes_on_with_its_file_systems_next_life(subject: Subject) -> None:
    store = FileStore(subject.directory, subject.task, handles=4)
    with subject.client() as client:
        client.put("f", b"bytes")
        adopted = store.adopt(endpoint_of(client.open("f")))
        former = held(store, adopted)
        assert store.read(former, 1, PAGE) == b"ytes"
        assert store.overwrite(former, 4, bytes(PAGE)) == 1
        assert (store.size(former), client.get("f")) == (5, b"byte\0")
        store.sync(former)
    restart(subject.directory)
    with pytest.raises(StaleHandle):
        store.read(former, 0, 1)
    with subject.client() as client:
        client.put("f", b"again")
        new = held(store, store.adopt(endpoint_of(client.open("f"))))
        assert new.life > former.life
        assert store.read(new, 0, PAGE) == b"again"
        with pytest.raises(StaleHandle, match="former life"):
            store.read(former, 0, 1)
        store.close(former)
        store.close(new)
    store.end()
    free = subject.task.memory.statistics().free_bytes
    store.end()
    assert subject.task.memory.statistics().free_bytes == free


def test_a_store_has_room_for_as_many_files_as_it_was_made_for(subject: Subject) -> None:
    store = FileStore(subject.directory, subject.task, handles=30)
    with subject.client() as client:
        file = endpoint_of(client.open("f"))
        for _ in range(30):
            store.adopt(file)


def test_a_file_system_that_is_slow_is_asked_no_more_and_loses_the_buffer(subject: Subject) -> None:
    store = FileStore(subject.directory, subject.task, handles=4)
    with subject.client() as client:
        client.put("f", b"bytes")
        file = client.open("f")
        kept = held(store, store.adopt(endpoint_of(file)))
        free = subject.task.memory.statistics().free_bytes
        session = store._session
        assert session is not None

        def slow(*_: object) -> int:
            raise Timeout("5 s")

        session.read_number = slow  # type: ignore[method-assign]
        with pytest.raises(DeviceFailed):
            store.read(kept, 0, 1)
        assert subject.task.memory.statistics().free_bytes > free
        with pytest.raises(StaleHandle):
            store.overwrite(kept, 0, b"x")
        assert store.read(held(store, store.adopt(endpoint_of(file))), 0, 5) == b"bytes"


def test_a_file_system_that_dies_of_the_request_is_asked_again_and_one_that_is_slow_is_not(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FileStore(subject.directory, subject.task, handles=4)
    raised: list[Exception] = []
    asked = 0
    begin = FileStore._begin

    def dying(self: FileStore) -> None:
        nonlocal asked
        asked += 1
        begin(self)
        if raised:
            error = raised.pop()
            assert self._session is not None

            def fail(*_: object) -> Adopted:
                raise error

            self._session.adopt = fail  # type: ignore[method-assign]

    monkeypatch.setattr(FileStore, "_begin", dying)
    with subject.client() as client:
        file = endpoint_of(client.open("f"))
        raised[:] = [ServerDied("it"), ServerDied("it")]
        assert store.adopt(file).size == 0
        assert asked == 3
        store.end()
        raised[:] = [Timeout("5 s")]
        with pytest.raises(DeviceFailed):
            store.adopt(file)
        assert asked == 4


def test_a_foreign_file_system_is_shown_nothing_that_it_could_use(
    made: TestSystem, subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FileStore(subject.directory, subject.task, handles=4)
    seen: list[str] = []
    with subject.client() as client, connect(Keeper) as stranger:
        file = endpoint_of(client.open("f"))
        store.adopt(file)
        session = store._session
        assert session is not None

        def look(shown: Unwrapped) -> Adopted:
            seen.append(identify(shown.cptr).rights)
            stranger.badge_of(shown)
            raise AssertionError("it was taken for one of its own")

        monkeypatch.setattr(session, "adopt", look)
        with pytest.raises(InvalidMessage):
            store.adopt(file)
        assert seen == [""]
        assert identify(file.cptr).rights != ""
