"""The namespace over file systems in memory: paths find their file system, and nobody sees more than its part."""

from __future__ import annotations

from collections.abc import Iterator
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
)
from libsel4py.interfaces.namespace import MountPoint, Namespace
from libsel4py.signature import Word
from libsel4py.testing import connect, system
from servers.ramfs.main import Main as RamFs
from servers.vfs.main import Main

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
