"""What the exercise holds for right."""

from __future__ import annotations

import hashlib
import json
import random

from apps.exercise.values import Values, Versions
from libsel4py.interfaces.key_value import UnknownKey
from libsel4py.workload import MARK, Workload

NAMES = ("a", "b", "c", "d")


def test_what_was_acknowledged_or_tried_since_is_right() -> None:
    versions = Versions()
    versions.acknowledged("a", b"1")
    versions.tried("a", b"2")
    assert [versions.is_right("a", value) for value in (b"1", b"2", b"3", b"")] == [True, True, False, False]
    versions.acknowledged("a", b"2")
    assert not versions.is_right("a", b"1")


def test_before_anything_is_acknowledged_what_the_disk_began_with_is_right_and_nothing_else() -> None:
    versions = Versions()
    assert not versions.knows("a")
    versions.begins("a", b"")
    assert versions.knows("a")
    versions.tried("a", b"new")  # refused
    assert [versions.is_right("a", value) for value in (b"", b"new", b"of an earlier run")] == [True, True, False]
    versions.begins("b", b"of an earlier run")
    assert versions.is_right("b", b"of an earlier run")
    assert not versions.is_right("b", b"")


def test_what_is_lost_is_counted_once() -> None:
    versions = Versions()
    versions.acknowledged("a", b"1")
    assert not versions.is_right("a", b"")
    versions.found("a", b"")
    assert versions.is_right("a", b"")


class Store:
    """Keeps values. Forgets one that was written before, at its `forgets_at`th put; or refuses to put at all."""

    def __init__(self, kept: dict[str, bytes], forgets_at: int = 0, refuses: bool = False) -> None:
        self.kept = kept
        self._forgets_at = forgets_at
        self._refuses = refuses
        self._puts = 0

    def put(self, name: str, value: bytes) -> None:
        self._puts += 1
        if self._refuses:
            raise OSError("refused")
        self.kept[name] = value
        if self._puts == self._forgets_at:
            del self.kept[next(each for each in self.kept if each != name)]

    def get(self, name: str) -> bytes:
        if name not in self.kept:
            raise UnknownKey(name)
        return self.kept[name]


def lost_of(store: Store) -> int:
    """How many values the exercise holds for lost."""
    lines: list[str] = []
    load = Workload("store", (OSError,), lines.append)
    values = Values(load, random.Random(1), NAMES, 100, store.get, store.put)
    for _ in range(100):
        values.turn()
    load.tell()
    told = json.loads(lines[-1][len(MARK) :])
    assert told["kept_checks"] == 200 - len(NAMES)  # the first look at each says with what it begins
    assert told["wrong"] == told["lost"]
    return int(told["lost"])


def test_a_value_that_was_written_long_before_and_is_gone_is_lost() -> None:
    assert lost_of(Store({})) == 0
    assert lost_of(Store({}, forgets_at=50)) == 1


def test_what_an_earlier_run_left_is_no_loss_where_all_is_refused() -> None:
    body = b"of an earlier run"
    left = body + hashlib.sha256(body).digest()
    assert lost_of(Store(dict.fromkeys(NAMES, left), refuses=True)) == 0
