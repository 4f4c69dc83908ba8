"""The namespace over file systems in memory: paths find their file system, and nobody sees more than its part."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, wait
from contextlib import ExitStack, contextmanager

import pytest

from apps.pong.main import Main as Pong
from libsel4py import Endpoint, Interface
from libsel4py.environment import Value
from libsel4py.files import Files
from libsel4py.interface import endpoint_of
from libsel4py.interfaces.file import (
    Access,
    BadPath,
    DeviceFailed,
    Directory,
    FileExists,
    Kind,
    NoSuchFile,
    NotPermitted,
    StaleHandle,
    TooManyOpen,
)
from libsel4py.interfaces.namespace import MountPoint, Namespace
from libsel4py.signature import Word
from libsel4py.testing import TestSystem, connect, in_background, system, worker_threads
from libsel4py.testing.fake_objects import FakeCap, FakeEndpoint
from servers.ramfs.main import Main as RamFs
from servers.vfs import main as vfs_main
from servers.vfs.asking import MOST_WAITING
from servers.vfs.main import Main
from servers.vfs.tree import MOST_MOUNTS_OF_ONE, MOST_TABLE_BYTES, KeptView, Table
from tests.unit.servers.second_life import Lives

MOUNTS: dict[str, Value] = {"mounts": {"/": "disk", "/tmp": "ram", "/tmp/deep": "third"}}


@contextmanager
def mounted(**configuration: Value) -> Iterator[Namespace]:
    """A namespace with three file systems, in each a file that says which one it is."""
    with system() as made, ExitStack() as stack:
        disks: dict[str, Interface | type[Interface]] = {}
        for name in ("disk", "ram", "third"):
            directory = stack.enter_context(connect(RamFs))
            with Files(directory, made.first_task, buffer_bytes=16 << 10) as files:
                files.mkdir("sub")
                files.path("name").write_text(name)
                files.path("sub/name").write_text(f"{name} sub")
            disks[name] = directory
        yield stack.enter_context(connect(Main, uses=disks, configuration={**MOUNTS, **configuration}))


@contextmanager
def opened(space: Namespace) -> Iterator[Files]:
    with Files(space, buffer_bytes=16 << 10) as files:
        yield files


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/name", "disk"),
        ("name", "disk"),
        ("/sub/name", "disk sub"),
        ("/tmp/name", "ram"),
        ("/tmp/sub/name", "ram sub"),
        ("/tmp/deep/name", "third"),
    ],
)
def test_a_path_finds_its_file_system(path: str, text: str) -> None:
    with mounted() as space, opened(space) as files:
        assert files.path(path).read_text() == text


def test_what_it_gives_is_the_directory_of_the_longest_mount_and_the_rest() -> None:
    with mounted() as space:
        rest, directory = space.resolve("/tmp/deep/a/b")
        assert (rest, Directory(directory).stat("name").size) == ("a/b", len("third"))
        assert space.resolve("/")[0] == ""
        assert space.mounts() == [MountPoint("/", True), MountPoint("/tmp", True), MountPoint("/tmp/deep", True)]
        with pytest.raises(BadPath):
            space.resolve("/tmp/../name")


def test_a_client_has_its_part_and_its_rights() -> None:
    with mounted(clients={"test": "r /tmp"}) as space, opened(space) as files:
        assert files.path("/name").read_text() == "ram"
        assert files.path("/deep/name").read_text() == "third"
        assert space.mounts() == [MountPoint("/", False), MountPoint("/deep", False)]
        with pytest.raises(PermissionError):
            files.path("/new").write_text("x")
        with connect(RamFs) as mine, pytest.raises(NotPermitted):
            space.mount("/here", endpoint_of(mine))


def test_who_has_nothing_of_it_is_told_nothing_of_it() -> None:
    with mounted(clients={"other": "rw /"}) as space:
        assert space.mounts() == []
        with pytest.raises(NotPermitted):
            space.resolve("/")


def test_a_part_inside_of_a_file_system_is_all_that_is_seen_of_it() -> None:
    with mounted(clients={"test": "rw /tmp/sub"}) as space, opened(space) as files:
        assert files.path("/name").read_text() == "ram sub"
        files.path("/mine").write_text("x")
        assert [entry.name for entry in files.list("/")] == ["mine", "name"]


def test_a_client_s_part_is_made_if_it_is_missing() -> None:
    with mounted(clients={"test": "rw /tmp/var/lib"}) as space, opened(space) as files:
        files.path("/mine").write_text("x")
        assert files.path("mine").read_text() == "x"


def test_who_is_not_listed_has_no_right() -> None:
    with mounted(clients={"other": "rw /"}) as space, opened(space) as files, pytest.raises(PermissionError):
        files.path("/name").read_text()


def test_what_a_client_narrows_is_counted_by_its_own_part() -> None:
    """So that the file system, which knows the namespace alone, gives others theirs still."""
    with mounted(clients={"test": "rw /sub"}) as space:
        _, own = space.resolve("/")
        Directory(own).make_directory("deep")
        _, deep = Namespace(space.narrow("/deep", Word(Access.ALL))).resolve("/")
        Directory(deep).make_directory("more")
        assert [each.name for each in Directory(own).list("deep")] == ["more"]
        _, reader = Namespace(space.narrow("/deep", Word(Access.READ))).resolve("/more")
        with pytest.raises(NotPermitted):
            Directory(reader).make_directory("other")


def test_one_client_has_half_of_the_mounts_and_of_the_table() -> None:
    with mounted() as space, connect(RamFs) as mine:
        for number in range(MOST_MOUNTS_OF_ONE):
            space.mount(f"/m{number}", endpoint_of(mine))
        with pytest.raises(TooManyOpen, match="has mounted"):
            space.mount("/more", endpoint_of(mine))
    table = Table()
    for number in range(MOST_TABLE_BYTES):
        try:
            table.ensure_room("x" * 400, "one")
        except TooManyOpen:
            break
        table.views[number] = KeptView("x" * 400, 1, "one")
    assert len(table.views) == MOST_TABLE_BYTES // 2 // (400 + 32 + 3)
    table.ensure_room("x" * 400, "other")


def test_it_is_narrowed_and_never_widened() -> None:
    with mounted(clients={"test": "r /"}) as space:
        narrow = Namespace(space.narrow("/tmp", Word(int(Access.ALL))))
        again = Namespace(narrow.narrow("/sub", Word(int(Access.ALL))))
        with opened(again) as files:
            assert files.path("/name").read_text() == "ram sub"
            with pytest.raises(PermissionError):
                files.path("/new").write_text("x")


def test_a_client_mounts_what_it_has_and_unmounts_what_it_mounted() -> None:
    with mounted() as space, connect(RamFs) as mine:
        mine.make_directory("mine")
        space.mount("/sub/here", endpoint_of(mine))
        with opened(space) as files:
            assert [entry.name for entry in files.list("/sub/here")] == ["mine"]
        with pytest.raises(FileExists):
            space.mount("/sub/here", endpoint_of(mine))
        with pytest.raises(NotPermitted):
            space.unmount("/tmp")
        space.unmount("/sub/here")
        with pytest.raises(NoSuchFile):
            space.unmount("/sub/here")
        rest, _ = space.resolve("/sub/here")
        assert rest == "sub/here"


def test_what_is_mounted_and_is_no_file_system_is_unmounted_when_it_fails() -> None:
    with mounted() as space, connect(Pong) as odd:
        space.mount("/odd", endpoint_of(odd))
        with pytest.raises((DeviceFailed, StaleHandle)):
            space.resolve("/odd/x")
        assert space.resolve("/odd/x")[0] == "odd/x"


def test_a_file_system_that_was_started_again_is_asked_anew() -> None:
    with mounted() as space:
        _, first = space.resolve("/tmp/sub")
        Directory(first).make_directory("new")
        _, second = space.resolve("/tmp/sub")
        assert Directory(second).stat("new").kind is Kind.DIRECTORY


@pytest.mark.parametrize("mounts", [None, {}, "disk", {"/": "nobody"}])
def test_settings_that_say_nothing_are_refused(mounts: Value) -> None:
    settings: dict[str, Value] = {} if mounts is None else {"mounts": mounts}
    with pytest.raises((ValueError, AttributeError)), connect(Main, configuration=settings):
        pass


def test_a_capability_of_a_former_life_is_stale() -> None:
    with mounted() as space:
        narrow: Endpoint = space.narrow("/tmp", Word(3))
        assert Namespace(narrow).resolve("/")[0] == ""


# --- mounts that do not answer

SECONDS = 10.0


class Dead:
    """A directory that nobody serves: who asks it waits, until it is said to have died with that."""

    def __init__(self, made: TestSystem) -> None:
        self._kernel = made.kernel
        self._target = FakeEndpoint()
        self.endpoint = Endpoint(made.new(self._target))

    def wait_until_asked(self) -> None:
        self._kernel.wait_for_senders(self._target, 1)

    def die(self) -> None:
        self._target.taken.append(self._target.queue.popleft())
        self._kernel.end_life(self._target)


@contextmanager
def beside_a_dead_one() -> Iterator[tuple[Namespace, Dead]]:
    """A namespace that has threads, and /odd in it does not answer."""
    with system() as made, worker_threads(4), mounted() as space:
        dead = Dead(made)
        space.mount("/odd", dead.endpoint)
        yield space, dead


def test_a_mount_that_does_not_answer_holds_up_nobody_else() -> None:
    with beside_a_dead_one() as (space, dead), connect(RamFs) as mine:
        space.mount("/mine", endpoint_of(mine))
        waiting = in_background(space.resolve, "/odd/x")
        dead.wait_until_asked()
        for path in ("/name", "/tmp/name", "/tmp/deep/name"):
            rest, directory = space.resolve(path)
            assert Directory(directory).stat(rest).size
        assert MountPoint("/odd", True) in space.mounts()
        assert not waiting.done()
        dead.die()
        with pytest.raises(DeviceFailed):
            waiting.result(SECONDS)
        assert MountPoint("/odd", True) not in space.mounts()
        assert space.resolve("/odd/x")[0] == "odd/x"
        assert space.resolve("/mine/x")[0] == "x"


def test_it_is_unmounted_when_its_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vfs_main, "ANSWER_SECONDS", 0.01)
    with beside_a_dead_one() as (space, _):
        with pytest.raises(DeviceFailed):
            space.resolve("/odd/x")
        assert space.resolve("/odd/x")[0] == "odd/x"


def test_who_waits_too_often_for_what_does_not_answer_is_refused() -> None:
    with beside_a_dead_one() as (space, dead):
        waiting = {in_background(space.resolve, "/odd/x") for _ in range(MOST_WAITING + 1)}
        refused, waiting = wait(waiting, SECONDS, FIRST_COMPLETED)
        assert [type(each.exception()) for each in refused] == [TooManyOpen]
        assert space.resolve("/name")[0] == "name"
        dead.die()
        assert {type(each.exception(SECONDS)) for each in waiting} == {DeviceFailed}


def test_what_is_unmounted_while_it_is_asked_is_let_go_of_later() -> None:
    with beside_a_dead_one() as (space, dead):
        waiting = in_background(space.resolve, "/odd/x")
        dead.wait_until_asked()
        space.unmount("/odd")
        assert space.resolve("/odd/x")[0] == "odd/x"
        assert not waiting.done()
        dead.die()
        with pytest.raises(DeviceFailed):
            waiting.result(SECONDS)
        assert len(space.mounts()) == 3


# --- another life


@contextmanager
def lives(slots: int = 4) -> Iterator[tuple[Lives, dict[str, object]]]:
    with system() as made, connect(RamFs) as disk:
        with Files(disk, made.first_task, buffer_bytes=16 << 10) as files:
            files.mkdir("sub")
        yield Lives(made, Main, slots), {"uses": {"disk": disk}, "configuration": {"mounts": {"/": "disk"}}}


def test_what_clients_have_mounted_is_there_in_the_next_life() -> None:
    with lives() as (server, options), connect(RamFs) as mine:
        mine.make_directory("mine")
        with server.life(**options) as space:
            space.mount("/here", endpoint_of(mine))
            space.mount("/gone", endpoint_of(mine))
            space.unmount("/gone")
        for _ in range(2):
            with server.life(**options) as space:
                assert [each.path for each in space.mounts()] == ["/", "/here"]
                rest, directory = space.resolve("/here/mine")
                assert Directory(directory).stat(rest).kind is Kind.DIRECTORY
        with server.life("bob", **options) as space, pytest.raises(NotPermitted):
            space.unmount("/here")
        with server.life(**options) as space:
            space.unmount("/here")
        with server.life(**options) as space:
            assert [each.path for each in space.mounts()] == ["/"]
        assert not server.held()


def test_more_than_there_is_room_for_is_refused() -> None:
    with lives(slots=2) as (server, options), connect(RamFs) as mine, server.life(**options) as space:
        for path in ("/a", "/b"):
            space.mount(path, endpoint_of(mine))
        with pytest.raises(TooManyOpen):
            space.mount("/c", endpoint_of(mine))
        space.unmount("/a")
        space.mounts()
        space.mount("/c", endpoint_of(mine))
        assert [each.path for each in space.mounts()] == ["/", "/b", "/c"]


def narrow_without_end(space: Namespace) -> None:
    for number in range(256):
        space.narrow(f"/{number:03}" + "/x" * 300, Word(1))


def test_the_table_is_bounded_whatever_paths_it_has() -> None:
    with lives() as (server, options), server.life(**options) as space:
        with pytest.raises(TooManyOpen, match="bytes"):
            narrow_without_end(space)
        assert len(space.mounts()) == 1


def test_a_namespace_that_was_handed_on_works_in_the_next_life() -> None:
    with lives() as (server, options):
        objects = server.made.kernel.objects
        with server.life(**options) as space:
            badge = objects.caps[space.narrow("/sub", Word(int(Access.READ))).cptr].badge
        with server.life(**options) as space:
            slot, endpoint = server.made.slots.allocate(), objects.caps[endpoint_of(space).cptr].object
            objects.caps[slot] = FakeCap(endpoint, badge)  # as the client has it still
            narrow = Namespace(Endpoint(slot))
            assert narrow.resolve("/x")[0] == "x"
            assert narrow.mounts() == [MountPoint("/", False)]
            with pytest.raises(NotPermitted):
                narrow.unmount("/x")
