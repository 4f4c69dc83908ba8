"""The file system in memory: it passes the conformance suite, and keeps within its bytes."""

from __future__ import annotations

import itertools
import tracemalloc

import pytest

from libsel4py.environment import Value
from libsel4py.interfaces.file import NoSpace, NotPermitted
from libsel4py.testing import connect, in_background, restart, system
from libsel4py.testing.file_system import FILE_SYSTEM_CHECKS, NEEDS_RESTART, Subject, check_file_system
from servers.ramfs.contents import CHUNK_BYTES, PIECE_BYTES, Budget, Contents
from servers.ramfs.main import Main
from servers.ramfs.volume import NODE_BYTES

BYTES = 4 << 20
ONE_REPLY = 32  # which the server keeps for the next one that waits; here both have one pool


@pytest.mark.parametrize("name", FILE_SYSTEM_CHECKS)
def test_it_is_a_file_system(name: str) -> None:
    with system() as made, connect(Main, configuration={"bytes": BYTES}) as directory:
        task = made.first_task
        before = task.memory.statistics().free_bytes
        subject = Subject(directory, task, in_background, restart=lambda: restart(directory))
        assert check_file_system(subject, name) == [name]
        if name not in NEEDS_RESTART:  # the fake system has nobody who clears up behind a server
            assert before - task.memory.statistics().free_bytes <= ONE_REPLY, "the client's memory is not all back"


def test_what_does_not_fit_is_no_space_and_changes_nothing() -> None:
    with system() as made, connect(Main, configuration={"bytes": 200_000}) as directory:
        subject = Subject(directory, made.first_task)
        with subject.client() as client:
            client.put("f", b"x" * 100_000)
            with subject.client() as other, pytest.raises(NoSpace):
                other.put("g", b"y" * 150_000)
            assert client.get("f") == b"x" * 100_000
            client.directory.remove("g")
            client.directory.remove("f")
            client.put("g", b"y" * 150_000)


def test_names_count_so_that_nobody_fills_the_memory_with_empty_files() -> None:
    with system() as made, connect(Main, configuration={"bytes": 20_000}) as directory:
        for number in range(20_000 // NODE_BYTES):
            directory.make_directory(f"d{number}")
        with pytest.raises(NoSpace):
            directory.make_directory("one more")
        for entry in directory.list(""):
            directory.remove(entry.name)
        assert directory.space().free_blocks == directory.space().blocks == 20_000 // 4096
        assert made.first_task is not None


def test_sparse_files_take_what_was_written_and_no_more() -> None:
    with system() as made, connect(Main, configuration={"bytes": 300_000}) as directory:
        subject = Subject(directory, made.first_task)
        with subject.client() as client:
            file = client.open("sparse")
            file.write_piece(1 << 50, b"far")
            assert file.size() == (1 << 50) + 3
            assert file.read_piece(1 << 49, 4) == bytes(4)
            assert file.read_piece((1 << 50) - 2, 10) == b"\0\0far"
            with pytest.raises(NoSpace):
                file.write_piece(1 << 62, b"further than a file reaches")
            file.truncate(0)
            assert directory.space().free_blocks >= 200_000 // 4096


def test_pieces_of_a_byte_take_no_more_memory_than_there_is() -> None:
    contents, total = Contents(Budget(1 << 16)), 1 << 16

    def fill() -> None:
        for piece in itertools.count():
            contents.write(piece * CHUNK_BYTES, b"x")

    tracemalloc.start()
    try:
        with pytest.raises(NoSpace):
            fill()
        assert tracemalloc.get_traced_memory()[0] < 2 * total
    finally:
        tracemalloc.stop()
    contents.clear()
    contents.write(0, bytes(total - PIECE_BYTES))  # all of it is there again


@pytest.mark.parametrize("clients", [{"test": "rx /"}, {"test": "r /a/../b"}, "rw"])
def test_settings_that_say_nothing_are_refused(clients: str | dict[str, str]) -> None:
    configuration: dict[str, Value] = {"clients": clients if isinstance(clients, str) else dict(clients)}
    with pytest.raises(ValueError, match="clients"), connect(Main, configuration=configuration):
        pass


def test_a_client_has_the_subtree_and_the_rights_of_the_description() -> None:
    with connect(Main, configuration={"clients": {"test": "r /www/pub", "other": "rw /"}}) as directory:
        assert directory.list("") == []
        with pytest.raises(NotPermitted):
            directory.make_directory("x")


def test_a_client_that_the_description_leaves_out_has_nothing() -> None:
    with connect(Main, configuration={"clients": {"other": "rw /"}}) as directory:
        for act in (lambda: directory.stat(""), lambda: directory.list(""), lambda: directory.make_directory("x")):
            with pytest.raises(NotPermitted):
                act()


def test_a_connection_has_a_part_of_its_own_where_the_description_says_so() -> None:
    clients: dict[str, Value] = {"clients": {"test": "rw /", "test/directory": "r /a", "test/other": "rw /b"}}
    with connect(Main, configuration=clients) as directory:
        with pytest.raises(NotPermitted):
            directory.make_directory("x")
        assert directory.list("") == []
