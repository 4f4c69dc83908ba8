"""A runtime folder of its own for each test, and a stand-in for a running system."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty runtime folder; its path is short, because a socket's address is."""
    folder = Path(tempfile.mkdtemp(prefix="sel4py-"))
    monkeypatch.setenv("SEL4PY_RUNTIME_DIR", str(folder))
    yield folder
    shutil.rmtree(folder)


@dataclass(frozen=True)
class FakeSystem:
    """A process that holds a system's lock and answers its management socket as ``fake_system.py`` says."""

    name: str
    folder: Path
    process: subprocess.Popen[bytes]


class FakeSystems:
    def __init__(self) -> None:
        self.started: list[FakeSystem] = []

    def start(self, name: str) -> FakeSystem:
        from deploy.runtime import system_folder

        folder = system_folder(name)
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.unit.deploy.fake_system", str(folder)],
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[3],
            env={**os.environ},
        )
        system = FakeSystem(name, folder, process)
        self.started.append(system)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        return system

    def end(self) -> None:
        for system in self.started:
            system.process.kill()
            system.process.wait()
            assert system.process.stdout is not None
            system.process.stdout.close()


@pytest.fixture
def systems(runtime: Path) -> Iterator[FakeSystems]:
    fakes = FakeSystems()
    yield fakes
    fakes.end()
