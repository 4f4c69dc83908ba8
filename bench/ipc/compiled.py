"""The programs in C that stand beside this file, compiled when they are needed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

FLAGS = ("-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror")


def compiler() -> str | None:
    """The C compiler; None if there is none."""
    return shutil.which(os.environ.get("CC", "cc"))


def compile_program(name: str, folder: Path) -> Path:
    """Compile ``name``.c into ``folder``. Raises CalledProcessError."""
    source, program = Path(__file__).parent / f"{name}.c", folder / name
    subprocess.run([compiler() or "cc", *FLAGS, str(source), "-o", str(program)], check=True)
    return program
