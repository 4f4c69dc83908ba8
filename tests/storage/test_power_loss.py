"""A power loss takes nothing that was synced; and it is seen when one of the rules that make it so is broken."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from littlefs import lfs

from libsel4py.littlefs import MemoryStore, format_store
from libsel4py.littlefs.cache import BlockCache
from libsel4py.testing.power_loss import Epoch, Kind, Lost, Operation, Work, cuts, epochs, read_tree
from tests.storage.power_loss import SIZES, mount, survive, survive_many


@pytest.mark.parametrize("size", SIZES)
def test_scripted_work_survives(size: int) -> None:
    assert survive(size, seed=1, samples=4, most=None, scripted=True).total > 80


def test_random_work_survives() -> None:
    found = survive_many(300, samples=4)
    assert found.total == 300
    assert found.again
    assert set(found.states) == set(Kind)


@pytest.mark.slow
def test_random_work_survives_in_many_states() -> None:
    assert survive_many(20_000, samples=40).total == 20_000


def without_flush(cache: BlockCache, cfg: object) -> int:
    cache._write_out()
    return 0


def erased(cache: BlockCache, cfg: object, block: int) -> int:
    cache._blocks[block] = bytearray(b"\xff" * cache._block_bytes)
    return 0


def half_done(system: object) -> int:
    return 0


class NotFlushedAtFirst(MemoryStore):
    """Leaves the first flush out."""

    first = True

    def flush(self) -> None:
        if self.first:
            self.first = False
        else:
            super().flush()


@pytest.mark.parametrize(
    ("where", "name", "broken"),
    [
        (BlockCache, "sync", without_flush),
        (BlockCache, "erase", erased),
        (lfs, "fs_mkconsistent", half_done),
        ("libsel4py.testing.power_loss.survival", "MemoryStore", NotFlushedAtFirst),
    ],
    ids=["flush at each sync", "erasing shows what the medium has", "finish at the mount", "flush at the mount"],
)
def test_a_broken_rule_is_seen(
    monkeypatch: pytest.MonkeyPatch, where: object, name: str, broken: Callable[..., object]
) -> None:
    if isinstance(where, str):
        monkeypatch.setattr(f"{where}.{name}", broken)
    else:
        monkeypatch.setattr(where, name, broken)
    with pytest.raises(Lost):
        survive_many(8000, samples=20)


def test_epochs_end_with_flushes() -> None:
    one, two, three = (0, b"1" * 512), (512, b"2" * 512), (1024, b"3" * 512)
    assert list(epochs([one, two, None, None, three])) == [
        Epoch(0, 2, (one, two)),
        Epoch(3, 3, ()),
        Epoch(4, 5, (three,)),
    ]


def test_cuts_are_all_prefixes_and_all_sequences_of_one_and_two_once_each() -> None:
    writes = tuple((1024 * at, bytes([at]) * 1024) for at in range(4))
    found = list(cuts(Epoch(0, 4, writes), random.Random(0), 0))
    assert len(found) == 5 + 3 + 5  # prefixes; ones but the first; unordered pairs but the first
    sampled = list(cuts(Epoch(0, 4, writes), random.Random(0), 50))
    assert {cut.kind for cut in sampled} == set(Kind)
    assert all(len(data) == 512 for cut in sampled if cut.kind is Kind.TORN for _, data in cut.written)


def test_the_order_of_two_writes_counts_where_they_overlap() -> None:
    writes = ((0, b"a" * 512), (0, b"b" * 512))
    assert {cut.written for cut in cuts(Epoch(0, 2, writes), random.Random(0), 0)} == {
        (),
        writes[:1],
        writes[1:],
        writes,
        writes[::-1],
    }


def test_an_operation_that_returned_before_the_flush_must_last() -> None:
    log: list[int] = []

    class Volume:
        def make_directory(self, path: str) -> None:
            log.extend((0, 0))

    work = Work(Volume(), lambda: len(log))  # type: ignore[arg-type]  # one operation is all that it needs
    work.do(Operation("mkdir", "d"))
    assert work.allowed(1) == [{}, {"d": None}]
    assert work.allowed(2) == [{"d": None}]


def test_a_read_only_medium_is_finished_in_memory_alone() -> None:
    """The state after the first of a rename's two commits, at which littlefs alone hides the other file."""
    store = MemoryStore(SIZES[0])
    format_store(store)
    store.log = log = []
    work = Work(mount(store), lambda: len(log))
    for operation in (Operation("mkdir", "d"), Operation("put", "a", b"1"), Operation("put", "b", b"2" * 5000)):
        work.do(operation)
    before, begin = bytearray(store.data), len(log)
    work.do(Operation("rename", "a", other="d/a"))
    first = log[begin]
    assert first is not None
    before[first[0] : first[0] + len(first[1])] = first[1]
    kept = bytes(before)
    assert read_tree(mount(MemoryStore(data=before, read_only=True))) == work.tree
    assert before == kept
