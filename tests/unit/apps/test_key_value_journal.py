"""The key-value store's journal: what was committed is there, whatever of the last record reached the medium."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.keyvalue import records
from apps.keyvalue.journal import LEAST_COMPACTED, Journal
from apps.keyvalue.records import HEADER


class Folder:
    """A folder of the host as the journal's disk. ``failing``: operations that are refused, by name."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.failing: set[str] = set()
        self.synced = 0

    def open(self, name: str, mode: str) -> BinaryIO:
        return cast(BinaryIO, (self.path / name).open(mode, buffering=0))

    def exists(self, name: str) -> bool:
        return (self.path / name).exists()

    def remove(self, name: str) -> None:
        (self.path / name).unlink()

    def sync(self, file: BinaryIO) -> None:
        if "sync" in self.failing:
            raise OSError("the disk is gone")
        self.synced += 1

    def replace(self, old: str, new: str) -> None:
        if "replace" in self.failing:
            raise OSError("the disk is gone")
        (self.path / old).replace(self.path / new)
        if "sync behind replace" in self.failing:
            raise OSError("the disk is gone")


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def read(folder: Folder) -> dict[str, bytes]:
    journal = Journal(folder, "journal")
    journal.close()
    return dict(journal.values)


def test_what_is_committed_is_there_when_it_is_opened_again(folder: Folder) -> None:
    journal = Journal(folder, "journal")
    journal.commit({"a": b"1", "ö": b"2" * 500, "": b""})
    journal.commit({"a": b"3", "ö": None, "absent": None})
    assert folder.synced == 2
    journal.close()
    assert read(folder) == {"a": b"3", "": b""}


def test_a_record_that_is_not_whole_counts_for_nothing_and_the_journal_goes_on(folder: Folder) -> None:
    journal = Journal(folder, "journal")
    journal.commit({"a": b"1", "b": b"1"})
    first = (folder.path / "journal").stat().st_size
    journal.commit({"a": b"2", "b": b"2"})
    journal.close()
    whole = (folder.path / "journal").read_bytes()
    for length in range(len(whole) + 1):
        (folder.path / "journal").write_bytes(whole[:length])
        wanted = {} if length < first else {"a": b"1", "b": b"1"} if length < len(whole) else {"a": b"2", "b": b"2"}
        assert read(folder) == wanted, f"{length} of {len(whole)} bytes"
        journal = Journal(folder, "journal")
        journal.commit({"c": b"3"})
        journal.close()
        assert read(folder) == {**wanted, "c": b"3"}


def test_a_last_record_with_one_wrong_bit_counts_for_nothing(folder: Folder) -> None:
    journal = Journal(folder, "journal")
    journal.commit({"a": b"1"})
    first = (folder.path / "journal").stat().st_size
    journal.commit({"a": b"2"})
    journal.close()
    whole = (folder.path / "journal").read_bytes()
    for bit in range(8 * first, 8 * len(whole)):
        spoiled = bytearray(whole)
        spoiled[bit // 8] ^= 1 << bit % 8
        (folder.path / "journal").write_bytes(spoiled)
        assert read(folder) == {"a": b"1"}


@pytest.fixture
def three(folder: Folder) -> bytes:
    """A journal of three records."""
    journal = Journal(folder, "journal")
    journal.commit({"a": b"1", "b": b"former"})
    journal.commit({"b": b"2" * 40, "ö": b"", "a": None})
    journal.commit({"c": b"3"})
    journal.close()
    return (folder.path / "journal").read_bytes()


THREE = {"b": b"2" * 40, "ö": b"", "c": b"3"}


def damaged(folder: Folder, data: bytes) -> Journal:
    (folder.path / "journal").write_bytes(data)
    return Journal(folder, "journal")


def test_a_flipped_bit_of_any_other_record_is_flipped_back(folder: Folder, three: bytes) -> None:
    last = len(three) - len(records.pack({"c": b"3"}))
    for bit in range(8 * last):
        spoiled = bytearray(three)
        spoiled[bit // 8] ^= 1 << bit % 8
        journal = damaged(folder, spoiled)
        assert journal.values == THREE, f"bit {bit}"
        assert len(journal.damage) == 1
        assert "is flipped back" in journal.damage[0]
        journal.close()


def test_a_journal_that_was_damaged_is_written_anew(folder: Folder, three: bytes) -> None:
    journal = damaged(folder, three[:20] + bytes([three[20] ^ 1]) + three[21:])
    assert journal.is_due
    journal.commit({"d": b"4"})
    journal.compact()
    assert not journal.is_due
    assert not journal.damage
    journal.close()
    assert read(folder) == {**THREE, "d": b"4"}


def test_more_damage_costs_what_its_record_has_set_and_no_more(folder: Folder, three: bytes) -> None:
    second = len(records.pack({"a": b"1", "b": b"former"}))
    at = three.index(b"2" * 40)
    journal = damaged(folder, three[:at] + b"??" + three[at + 2 :])
    assert journal.values == {"c": b"3"}  # neither the former "a" and "b", nor others
    assert journal.damage == [f"the record at {second} was damaged: there is no value now of 'b', 'ö', 'a'"]
    assert journal.is_due
    journal.close()


def test_two_damaged_records_behind_each_other_cost_no_more(folder: Folder) -> None:
    journal = Journal(folder, "journal")
    for number in range(5):
        journal.commit({f"k{number}": b"v%d" % number * 10})
    journal.close()
    spoiled = bytearray((folder.path / "journal").read_bytes())
    for number in (1, 2):
        at = spoiled.index(b"v%d" % number * 10)
        spoiled[at : at + 3] = b"???"
    journal = damaged(folder, spoiled)
    assert list(journal.values) == ["k0", "k3", "k4"]
    assert len(journal.damage) == 2
    journal.close()


@pytest.mark.parametrize("what", [(8, b"\xff\x00\x00"), (4, b"\x00\x00\x00\x00"), (12, b"\xff\xff\xff\x7f")])
def test_where_nobody_knows_how_long_a_record_was_reading_ends(
    folder: Folder, three: bytes, what: tuple[int, bytes]
) -> None:
    second = len(records.pack({"a": b"1", "b": b"former"}))
    at, spoilt = second + what[0], what[1]
    journal = damaged(folder, three[:at] + spoilt + three[at + len(spoilt) :])
    assert journal.values == {"a": b"1", "b": b"former"}
    journal.close()
    assert (folder.path / "journal").stat().st_size == second


def test_a_value_that_looks_like_a_record_is_none(folder: Folder) -> None:
    """Whatever the length of a record has become, what a client has put into a value is not carried out."""
    forged = records.pack({"admin": b"mallory"})
    value = forged * 20
    assert len(value) <= 1000
    first, last = records.pack({"admin": b"alice"}), records.pack({"z": b"1"})
    middle = records.pack({"mallory": value})
    for length in range(len(middle) + 40):
        spoiled = bytearray(middle)
        spoiled[8:12] = length.to_bytes(4, "little")
        found = records.read(first + bytes(spoiled) + last)
        assert {name: text for part in found.changes for name, text in part.items()}["admin"] == b"alice", length


def test_a_commit_that_cannot_be_synced_was_not_made(folder: Folder) -> None:
    journal = Journal(folder, "journal")
    journal.commit({"a": b"1"})
    folder.failing = {"sync"}
    with pytest.raises(OSError, match="gone"):
        journal.commit({"a": b"2"})
    assert dict(journal.values) == {"a": b"1"}
    folder.failing = set()
    journal.commit({"b": b"1"})
    journal.close()
    assert read(folder) == {"a": b"1", "b": b"1"}


def test_compaction_keeps_what_counts_and_sheds_the_rest(folder: Folder) -> None:
    journal = Journal(folder, "journal")
    assert not journal.is_due
    while not journal.is_due:
        journal.commit({"a": bytes(600), "b": b"kept"})
    size = (folder.path / "journal").stat().st_size
    assert size > LEAST_COMPACTED
    folder.failing = {"replace"}
    with pytest.raises(OSError, match="gone"):
        journal.compact()
    journal.commit({"c": b"after"})
    folder.failing = set()
    journal.compact()
    assert not journal.is_due
    journal.commit({"d": b"last"})
    journal.close()
    assert (folder.path / "journal").stat().st_size < 1000
    assert read(folder) == {"a": bytes(600), "b": b"kept", "c": b"after", "d": b"last"}


def due(folder: Folder) -> Journal:
    journal = Journal(folder, "journal")
    while not journal.is_due:
        journal.commit({"a": bytes(600), "b": b"kept"})
    return journal


@pytest.mark.parametrize("failing", ["sync", "replace", "sync behind replace"])
def test_what_is_committed_behind_a_compaction_that_failed_is_in_the_file_that_is_read(
    folder: Folder, failing: str
) -> None:
    journal = due(folder)
    folder.failing = {failing}
    with pytest.raises(OSError, match="gone"):
        journal.compact()
    assert [each.name for each in folder.path.iterdir()] == ["journal"]  # a full disk is no fuller than before
    folder.failing = set()
    journal.commit({"c": b"after"})
    journal.close()
    assert read(folder) == {"a": bytes(600), "b": b"kept", "c": b"after"}


def test_what_a_compaction_left_that_did_not_come_to_its_end_is_removed(folder: Folder) -> None:
    (folder.path / "journal.new").write_bytes(b"half")
    assert read(folder) == {}
    assert [each.name for each in folder.path.iterdir()] == ["journal"]


class Stuck:
    """A file that cannot be cut while its folder's disk is gone."""

    def __init__(self, file: BinaryIO, folder: Folder) -> None:
        self._file, self._folder = file, folder
        self.seek, self.read, self.write, self.close = file.seek, file.read, file.write, file.close

    def truncate(self, size: int) -> None:
        if "sync" in self._folder.failing:
            raise OSError("the disk is gone")
        self._file.truncate(size)


class StuckFolder(Folder):
    """Its files cannot be cut while its disk is gone."""

    def open(self, name: str, mode: str) -> BinaryIO:
        return cast(BinaryIO, Stuck(super().open(name, mode), self))


def test_a_commit_that_was_refused_and_could_not_be_cut_off_is_not_read_behind_a_shorter_one(tmp_path: Path) -> None:
    folder = StuckFolder(tmp_path)
    journal = Journal(folder, "journal")
    journal.commit({"a": b"1"})
    size = (tmp_path / "journal").stat().st_size
    folder.failing = {"sync"}
    record = size  # as long as the next one, which has a name and a value of as many bytes
    inner = (tmp_path / "journal").read_bytes()
    for _ in range(2):  # the refused record has within its value, where the next record ends, one that is whole
        with pytest.raises(OSError, match="gone"):
            journal.commit({"x": bytes(record - HEADER.size - 9) + inner + b"behind"})
    folder.failing = set()
    journal.commit({"b": b"2"})
    assert (tmp_path / "journal").stat().st_size == 2 * size
    journal.close()
    assert read(folder) == {"a": b"1", "b": b"2"}


def test_a_compacted_journal_may_need_several_records(folder: Folder) -> None:
    journal = Journal(folder, "journal")
    wanted = {f"k{number}": bytes([number]) * (1 << 18) for number in range(10)}
    for key, value in wanted.items():
        journal.commit({key: value})
    journal.compact()
    journal.close()
    data = (folder.path / "journal").read_bytes()
    assert HEADER.unpack_from(data)[1] < len(wanted)
    assert read(folder) == wanted


@given(
    st.lists(st.dictionaries(st.sampled_from("abc"), st.none() | st.binary(max_size=9), max_size=3), max_size=8),
    st.integers(0, 8),
)
def test_it_is_a_dictionary(
    tmp_path_factory: pytest.TempPathFactory, commits: list[dict[str, bytes | None]], at: int
) -> None:
    folder, wanted = Folder(tmp_path_factory.mktemp("store")), {}
    journal = Journal(folder, "journal")
    for number, changes in enumerate(commits):
        if number == at:
            journal.compact()
        journal.commit(changes)
        wanted.update({key: value for key, value in changes.items() if value is not None})
        for key, value in changes.items():
            if value is None:
                wanted.pop(key, None)
        assert dict(journal.values) == wanted
    journal.close()
    assert read(folder) == wanted
