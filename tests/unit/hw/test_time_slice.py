"""The host's time slice: asked for, inherited, and done without."""

from __future__ import annotations

import subprocess
import sys

import pytest

from hw import time_slice
from hw.time_slice import SLICE_NS, ask_for_short_slice, slice_ns

GRANTS_SLICES = slice_ns() > 0
ASK = """
import os, subprocess, sys
from hw.time_slice import ask_for_short_slice, slice_ns
nice = os.nice(3)
granted = ask_for_short_slice()
child = "from hw.time_slice import slice_ns; print(slice_ns())"
inherited = int(subprocess.check_output([sys.executable, "-c", child]))
print(granted, slice_ns(), inherited, os.nice(0) - nice)
"""


@pytest.mark.skipif(not GRANTS_SLICES, reason="this host keeps no slices that can be asked for")
def test_a_short_slice_is_granted_inherited_and_changes_nothing_else() -> None:
    answer = subprocess.check_output([sys.executable, "-c", ASK], text=True).split()
    assert answer == ["True", str(SLICE_NS), str(SLICE_NS), "0"]


def test_where_the_host_does_not_know_the_call_it_is_not_granted(monkeypatch: pytest.MonkeyPatch) -> None:
    no_such_call = dict.fromkeys(time_slice._GET_ATTRIBUTES, 9999)
    monkeypatch.setattr(time_slice, "_GET_ATTRIBUTES", no_such_call)
    assert (ask_for_short_slice(), slice_ns()) == (False, 0)


def test_a_thread_that_is_not_there_has_none() -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    assert (ask_for_short_slice(ended.pid), slice_ns(ended.pid)) == (False, 0)
