"""Where the processes of a system find their modules, and how their Python is started so that it is there.

The order: the folders of the process that starts the system, then this tree, then the folders that a system's
description adds (`kerneld/host/zygote.py` appends them). So no module of a user's, and none that happens to lie in the
working folder, takes the place of one of ours or of Python's. What is checked before a start goes by the same order.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

TREE: Final = Path(__file__).resolve().parent.parent


def module_path() -> tuple[str, ...]:
    """The folders before a system's own, first to last."""
    return tuple(dict.fromkeys((*filter(None, sys.path), str(TREE))))


def python_command(*arguments: str) -> list[str]:
    """A command for this Python that does not look into its working folder first."""
    return [sys.executable, "-P", *arguments]


def python_environment() -> dict[str, str]:
    """The environment that goes with the command."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(module_path()), "PYTHONUNBUFFERED": "1"}
