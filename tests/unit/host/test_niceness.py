"""Priorities as nice values of the host's threads."""

from __future__ import annotations

import os
import threading

import pytest

from kerneld.host.niceness import NICEST, nice_of, set_nice


@pytest.mark.parametrize(("priority", "nice"), [(255, 0), (100, 0), (99, 0), (90, 1), (50, 9), (10, 17), (0, NICEST)])
def test_only_priorities_below_the_ordinary_one_are_nicer(priority: int, nice: int) -> None:
    assert nice_of(priority) == nice


def test_a_thread_is_made_nicer_and_another_is_not() -> None:
    before, found = os.getpriority(os.PRIO_PROCESS, 0), []

    def body() -> None:
        set_nice(threading.get_native_id(), 0)
        found.append(os.getpriority(os.PRIO_PROCESS, 0))

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert found == [NICEST]
    assert os.getpriority(os.PRIO_PROCESS, 0) == before


def test_a_thread_that_is_gone_is_no_error() -> None:
    thread = threading.Thread(target=lambda: None)
    thread.start()
    gone = thread.native_id
    thread.join()
    assert gone is not None
    set_nice(gone, 0)
