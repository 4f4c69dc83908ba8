"""The service layer of file systems, looked at by who has little or nothing: what it gives away, and what it keeps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import cast

import pytest

from libsel4py import Notification, component
from libsel4py.abi import ObjectType
from libsel4py.capabilities import Unwrapped
from libsel4py.context import ReplyToken
from libsel4py.filesystem import FileSystemServer
from libsel4py.filesystem.locks import FileLock
from libsel4py.filesystem.watches import MOST_CHANGES, MOST_WATCHES, Watch
from libsel4py.interface import endpoint_of
from libsel4py.interfaces.file import Access, Change, ChangeKind, DeviceFailed, File, NotPermitted, StaleHandle
from libsel4py.testing import TestSystem, connect, in_background, system
from libsel4py.testing.file_system import Subject
from libsel4py.testing.file_system.subject import BOTH, NEW
from servers.ramfs.main import Main
from servers.ramfs.volume import RamVolume

TOTAL = 4 << 20


@pytest.fixture
def made() -> Iterator[TestSystem]:
    with system() as made:
        yield made


@pytest.fixture
def subject(made: TestSystem) -> Iterator[Subject]:
    with connect(Main, configuration={"bytes": TOTAL, "pager": "test"}) as directory:
        yield Subject(directory, made.first_task, in_background)


def test_who_has_no_right_learns_no_name_by_narrowing(made: TestSystem) -> None:
    with connect(Main, configuration={"clients": {"other": "rw /secret/place"}}) as nothing:
        for path in ("", "secret", "secret/place", "nothing"):
            for rights in (Access.READ, Access.WRITE, Access.ALL):
                with pytest.raises(NotPermitted):
                    nothing.narrow(path, rights)
        assert made.first_task is not None


def test_what_has_none_of_the_rights_is_not_narrowed_to_nothing(subject: Subject) -> None:
    subject.directory.make_directory("d")
    with subject.narrowed(subject.directory, "", Access.READ) as reader:
        for path in ("d", "nothing"):
            with pytest.raises(NotPermitted):
                reader.narrow(path, Access.WRITE)
        with subject.narrowed(reader, "d", Access.ALL) as below:
            assert below.list("") == []


def test_appending_nothing_takes_nothing_and_tells_nobody(subject: Subject) -> None:
    with subject.client() as client:
        wake = Notification(subject.task.memory.allocate(ObjectType.NOTIFICATION).start)
        number, *_ = client.directory.open_number("f", NEW)
        client.directory.truncate_number(number, 65_535)
        watch = client.directory.watch("", wake)
        before = subject.directory.space()
        for _ in range(2 * TOTAL // 65_535):
            assert client.directory.append_number(number, 0, 0) == 65_535
        assert subject.directory.space() == before
        assert client.directory.changes(watch) == []


def test_a_capability_of_an_adopted_file_ends_with_who_handed_on_the_subtree(subject: Subject) -> None:
    with subject.client() as giver, subject.client() as pager:
        giver.put("f", b"bytes")
        with subject.narrowed(giver.directory, "", Access.ALL) as narrowed:
            with subject.client(narrowed) as client:
                endpoint = endpoint_of(client.open("f", BOTH))
                adopted = pager.directory.adopt(Unwrapped(endpoint.cptr))
            file = File(pager.directory.file(adopted.number))
            assert file.read_piece(0, 5) == b"bytes"
        giver.pool.take_back()
        with pytest.raises(StaleHandle):
            file.read_piece(0, 5)
        with pytest.raises(StaleHandle):
            file.write_piece(0, b"B")
        subject.task.delete(endpoint_of(file))


def test_watches_that_nobody_looks_at_cost_others_nothing(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    told, tell = 0, Watch.tell

    def counting(watch: Watch, change: Change) -> bool:
        nonlocal told
        told += 1
        return tell(watch, change)

    monkeypatch.setattr(Watch, "tell", counting)
    bell = Notification(subject.task.memory.allocate(ObjectType.NOTIFICATION).start)
    with subject.client() as client, subject.client() as idle:
        files = [client.open(name) for name in "ab"]
        watches = [idle.directory.watch("", bell) for _ in range(MOST_WATCHES)]
        for _ in range(100):
            files[0].write_piece(0, b"x")
        assert told == MOST_WATCHES
        assert idle.directory.changes(watches[0]) == [Change(ChangeKind.CHANGED, "a")]
        files[0].write_piece(0, b"x")
        assert idle.directory.changes(watches[0]) == [Change(ChangeKind.CHANGED, "a")]
        for number in range(10 * MOST_CHANGES):
            files[number % 2].write_piece(0, b"x")
        assert told < (MOST_CHANGES + 4) * MOST_WATCHES
        for watch in watches[1:]:
            seen = idle.directory.changes(watch)
            assert [seen[-1], len(seen)] == [Change(ChangeKind.LOST, ""), MOST_CHANGES + 1]
        files[1].write_piece(0, b"x")
        assert [idle.directory.changes(each) for each in watches[1:]] == [[Change(ChangeKind.CHANGED, "b")]] * 15


def test_a_watch_that_has_lost_something_and_whose_directory_moves_has_lost_it_once(subject: Subject) -> None:
    bell = Notification(subject.task.memory.allocate(ObjectType.NOTIFICATION).start)
    subject.directory.make_directory("d")
    with subject.narrowed(subject.directory, "d", Access.READ) as narrowed, subject.client(narrowed) as idle:
        watch = idle.directory.watch("", bell)
        for number in range(2 * MOST_CHANGES):
            subject.directory.make_directory(f"d/{number}")
        subject.directory.rename("d", "e")
        for number in range(2 * MOST_CHANGES):
            subject.directory.remove(f"e/{number}")
        assert [each.kind for each in idle.directory.changes(watch)].count(ChangeKind.LOST) == 1
        subject.directory.make_directory("e/more")
        assert idle.directory.changes(watch) == [Change(ChangeKind.CREATED, "more")]


class FailingVolume(RamVolume):
    """Its medium fails when a change of names is made: what asks for it is told that it failed."""

    is_failing = False

    def remove(self, path: str, /) -> None:
        super().remove(path)
        self._fail()

    def rename(self, old: str, new: str, /) -> None:
        super().rename(old, new)
        self._fail()

    def _fail(self) -> None:
        if self.is_failing:
            raise DeviceFailed("the disk is gone")


@pytest.mark.parametrize("change", ["remove", "rename", "replace"])
def test_a_capability_stands_for_no_other_directory_where_the_medium_failed(made: TestSystem, change: str) -> None:
    volume = FailingVolume(TOTAL)

    @component
    class Failing(FileSystemServer):
        def start(self) -> None:
            self.serve_volume(volume)

    with connect(Failing) as directory:
        subject = Subject(directory, made.first_task)
        for path in ("d", "d/below", "other"):
            directory.make_directory(path)
        directory.remove("d/below")
        with subject.narrowed(directory, "d", Access.ALL) as narrowed, subject.client(narrowed) as client:
            volume.is_failing = True
            with pytest.raises(DeviceFailed):
                directory.remove("d") if change == "remove" else directory.rename(
                    *(("d", "e") if change == "rename" else ("other", "d"))
                )
            volume.is_failing = False
            if change != "replace":
                directory.make_directory("d")
            directory.make_directory("d/secret")
            for each in (narrowed, client.directory):
                with pytest.raises(StaleHandle):
                    each.list("")


def test_a_file_of_a_name_that_the_medium_failed_with_is_not_the_one_that_was_open(made: TestSystem) -> None:
    volume = FailingVolume(TOTAL)

    @component
    class Failing(FileSystemServer):
        def start(self) -> None:
            self.serve_volume(volume)

    with connect(Failing) as directory, Subject(directory, made.first_task).client() as client:
        directory.make_directory("d")
        client.put("d/f", b"former")
        former = client.open("d/f")
        volume.is_failing = True
        with pytest.raises(DeviceFailed):
            directory.rename("d", "e")
        volume.is_failing = False
        directory.make_directory("d")
        client.put("d/f", b"another's")
        assert client.get("d/f") == b"another's"
        assert former.read_piece(0, 10) == b"former"


@dataclass(eq=False)
class Somebody:
    """Who may have a lock, or wait for it. ``told``: what came of that."""

    lives: bool = True
    told: list[str] = field(default_factory=list)

    def is_alive(self) -> bool:
        return self.lives

    def complete(self, value: object = None) -> None:
        self.told.append("has it")

    def fail(self, error: Exception) -> None:
        self.told.append(str(error))

    def defer(self) -> ReplyToken:
        return cast(ReplyToken, self)


def test_nobody_waits_behind_the_dead() -> None:
    """Of a session that had no room for a notice of its end nothing is heard."""
    lock, reader, dead, behind, late = FileLock(), *(Somebody() for _ in range(4))
    assert lock.try_take(reader, exclusive=False)
    lock.wait(dead, True, dead.defer)
    lock.wait(behind, False, behind.defer)
    assert not lock.try_take(late, exclusive=False)
    dead.lives = False
    assert lock.try_take(late, exclusive=False)
    assert (dead.told, behind.told) == (["the session is over"], ["has it"])
