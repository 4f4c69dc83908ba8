"""Where the processes of a system find their modules, and how their Python is started so that it is there.

The order: the folders of the process that starts the system, then this tree, then the folders that a system's
description adds (`kerneld/host/zygote.py` appends them). So no module of a user's, and none that happens to lie in the
working folder, takes the place of one of ours or of Python's. What is checked before a start goes by the same order.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

TREE: Final = Path(__file__).resolve().parent.parent
# What the host's loader and Python go by. A task finds it in its memory: nothing here may be anybody's secret.
_OF_PYTHON: Final = ("PYTHON", "LD_", "LC_", "SEL4PY_TEST_")
_ALONE: Final = ("HOME", "LANG", "TZ")


def module_path() -> tuple[str, ...]:
    """The folders before a system's own, first to last."""
    return tuple(dict.fromkeys((*filter(None, sys.path), str(TREE))))


def python_command(*arguments: str) -> list[str]:
    """A command for this Python that does not look into its working folder first."""
    return [sys.executable, "-P", *arguments]


def python_environment() -> dict[str, str]:
    """The environment that goes with the command."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(module_path()), "PYTHONUNBUFFERED": "1"}


def bare_environment(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The same for a process that tasks are forked of: without what its user has there for himself.

    The host lays an environment into the process's memory, and Python copies it. To remove it there is no way back for
    each copy, so that what no task may read must never come into that process.
    """
    kept = {name: value for name, value in environment.items() if name in _ALONE or name.startswith(_OF_PYTHON)}
    return {**kept, "PYTHONPATH": os.pathsep.join(module_path()), "PYTHONUNBUFFERED": "1"}
