"""Each layer of the sandbox can be left out of a system by a test; the system says so, and what it stops works."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from hw import code_tree
from hw.cpu import sandbox_layers
from hw.layers import VARIABLE
from hw.process_namespace import permitted
from tests.system.conftest import Boot

LAYERED = "tests.system.images.layered"
FORBIDDING = "tests.system.images.forbidding"


@pytest.mark.parametrize(
    ("without", "could"),
    [
        ("", ""),
        ("seccomp", "seccomp"),
        ("landlock", "landlock"),
        ("namespaces", "namespaces"),
        ("limits,dumpable", "limits dumpable"),
        ("pid", "pid"),
        ("cgroup", ""),
        ("tree", "tree"),
        ("all", "seccomp landlock namespaces limits capabilities dumpable pid tree"),
    ],
)
def test_what_a_layer_stops(
    boot: Boot, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, without: str, could: str
) -> None:
    monkeypatch.setenv(VARIABLE, without)
    expected = could.split()
    if os.geteuid():
        expected = [each for each in expected if each != "capabilities"]
    if not sandbox_layers().landlock:
        expected = sorted({*expected, "landlock"})
    if not sandbox_layers().namespaces:
        expected = sorted({*expected, "namespaces"})
    if not code_tree.permitted(tmp_path) or without == "namespaces":
        expected = sorted({*expected, "tree"})
    if not permitted()[0] or (os.geteuid() and without == "namespaces"):  # a plain user has them in one of users only
        expected = sorted({*expected, "pid"})
    system = boot(image=LAYERED, readable=())
    assert system.wait() == 3, system.logs()
    assert sorted(system.log("root").split()) == sorted(expected)
    assert ("WITHOUT" in system.output) == bool(without)


def test_a_layer_that_is_left_out_shows(boot: Boot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "landlock")
    system = boot("wait")
    status = system.ask("status")
    assert isinstance(status, dict)
    assert status["without_layers"] == ["landlock"]
    system.ask("down")
    assert system.wait() == 0


def test_a_forbidden_host_call_is_named(boot: Boot) -> None:
    system = boot(image=FORBIDDING)
    assert system.wait() != 0
    tried = r"ptrace \(\d+\) with arguments 0x10, 0xb, 0xc, 0xd, "
    said = "the sandbox does not let a task make the host system call"
    assert re.fullmatch(f"{said} {tried}.*: it is killed\n", system.log("root"))
    assert re.search(f"was killed for trying the host system call {tried}", system.log("kerneld"))


def test_a_loosened_image_may_make_a_host_call(boot: Boot) -> None:
    assert boot(image=FORBIDDING, host_calls={FORBIDDING: ["ptrace"]}).wait() == 0
