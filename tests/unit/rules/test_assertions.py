"""Tests that would show nothing do not run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TREE = Path(__file__).parents[3]


def test_where_assertions_are_left_out_no_test_runs() -> None:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", __file__]
    done = subprocess.run(
        command, cwd=TREE, env={**os.environ, "PYTHONOPTIMIZE": "1"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "PYTHONOPTIMIZE leaves out: unset it" in done.stderr
