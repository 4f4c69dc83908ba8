"""The key-value store as a server, over a file system in memory."""

from __future__ import annotations

import pytest

from apps.keyvalue.main import Main
from libsel4py.interfaces.key_value import UnknownKey
from libsel4py.testing import connect, system
from servers.ramfs.main import Main as RamFs


def test_values_outlive_the_session_that_their_journal_was_open_by() -> None:
    """A file system that was started again knows nothing of open files: neither does one whose session was closed."""
    server = Main()
    with system(), connect(RamFs) as disk, connect(server, uses={"files": disk}) as store:
        session = server._journal._disk._files._mounts[""]  # type: ignore[attr-defined]  # the one of `_Disk`
        store.put("first", b"1")
        session.directory.close()
        store.put("second", b"2")
        store.delete("first")
        assert store.keys() == ["second"]
        with pytest.raises(UnknownKey):
            store.get("first")
        session.directory.close()
        store.put("third", b"3")
        assert store.keys() == ["second", "third"]
        server._journal.close()


def test_another_store_on_the_same_files_finds_them() -> None:
    with system(), connect(RamFs) as disk:
        first, second = Main(), Main()
        with connect(first, uses={"files": disk}) as store:
            store.put("a", b"1")
            first._journal.close()
        with connect(second, uses={"files": disk}) as store:
            assert store.get("a") == b"1"
            second._journal.close()
