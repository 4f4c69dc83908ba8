"""A capability cannot be forged: a hostile task reaches nothing but what it was granted; each way in has a control."""

from __future__ import annotations

import subprocess
import sys

import pytest

from hw.layers import VARIABLE
from tests.system.conftest import Boot
from tests.system.images import trespass

FORGING, FORGER = "tests.system.images.forging", "tests.system.images.forger"
SCENES = ("guess", "call", "replay", "edit", "race", "receive", "send", "host")


@pytest.mark.parametrize("scene", SCENES)
def test_a_hostile_task_reaches_nothing_that_it_was_not_granted(boot: Boot, scene: str) -> None:
    system = boot(scene, FORGER, image=FORGING)
    status = system.wait()
    assert status == 0, system.output + system.logs()


def test_a_hostile_task_that_can_name_the_systems_processes_gets_into_none(
    boot: Boot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "pid")
    system = boot("host", FORGER, image=FORGING)
    assert system.wait() == 0, system.output + system.logs()


def test_every_way_into_a_process_works_where_nothing_forbids_it() -> None:
    """The control of scene `host`: the same attempts, outside of a sandbox, on a process that is no task."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    try:
        assert trespass.worked(child.pid) == {way.__name__ for way in trespass.WAYS}
    finally:
        child.kill()
        child.communicate()
