"""A copy of the code that a test may change, and whose systems it runs."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from tests.system.supervisor import ROOT, Supervisor

CODE = ("hw", "kerneld", "libsel4py", "deploy", "servers", "apps")


class Tree:
    """A copy of the code, which a test changes while a system of it runs. ``more``: folders beside that."""

    def __init__(self, folder: Path, sel4py: Supervisor, *more: str) -> None:
        self._folder = folder
        self._sel4py = sel4py
        for name in (*CODE, *more):
            shutil.copytree(ROOT / name, folder / name)  # with the byte code of what is not changed

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "deploy.cli", *arguments]
        return subprocess.run(
            command, cwd=self._folder, env=self._sel4py.environment, capture_output=True, text=True, check=False
        )

    def change(self, file: str, old: str, new: str) -> None:
        path = self._folder / file
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))
