"""A file of tests that leaves descriptors open fails; one whose fixtures' values refer to themselves leaves none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TREE = Path(__file__).parents[3]
LEAVES = """
import os
def test_first(): os.memfd_create("forgotten")
def test_last(): pass
"""
CLOSES = """
import os, pytest, weakref
class Value:
    def __init__(self):
        self.own = self
        weakref.finalize(self, os.close, os.memfd_create("a fixture's"))
@pytest.fixture
def value():
    return Value()
def test_one(value): pass
def test_last(value): pass
"""
SHARES = """
import os, pytest
OWN = os.memfd_create("an import's")
@pytest.fixture(scope="module")
def shared():
    descriptor = os.memfd_create("a fixture's")
    yield
    os.close(descriptor)
def test_one(shared): pass
"""


def run(folder: Path, *files: str) -> subprocess.CompletedProcess[str]:
    """Without the short summary (-r N), whose lines are cut by the terminal's width, and are whole where CI is set; and
    without colours and other options that the environment asks for.
    """
    for number, text in enumerate(files):
        (folder / f"test_{number}.py").write_text(text)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "tests.conftest",
        "-p",
        "tests.unit.conftest",
        "-p",
        "no:cacheprovider",
        "-r",
        "N",
        "--rootdir",
        folder,
    ]
    environment = {**os.environ, "PYTEST_ADDOPTS": "--color=no", "PYTHONPATH": str(TREE)}
    return subprocess.run([*command, folder], cwd=TREE, env=environment, capture_output=True, text=True)


def test_a_file_that_leaves_a_descriptor_open_fails_and_those_beside_it_do_not(tmp_path: Path) -> None:
    done = run(tmp_path, CLOSES, LEAVES, SHARES)
    assert done.returncode == pytest.ExitCode.TESTS_FAILED
    assert "test_1.py leaves descriptors open" in done.stdout
    assert "/memfd:forgotten (deleted)" in done.stdout
    assert done.stdout.count("leaves descriptors open") == 1
    assert "5 passed, 1 error" in done.stdout


def test_what_the_last_test_of_a_file_had_by_its_fixtures_goes(tmp_path: Path) -> None:
    done = run(tmp_path, CLOSES, SHARES)
    assert done.returncode == pytest.ExitCode.OK, done.stdout
