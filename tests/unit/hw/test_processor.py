"""Which processor a thread runs on (hw/spin.h): with the C library's rseq area and without, and by older compilers."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
COMPILER = shutil.which("cc")
FLAGS = ("-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", f"-I{ROOT / 'hw'}", "-pthread")
PROGRAM = Path(__file__).with_name("processor.c")

pytestmark = pytest.mark.skipif(COMPILER is None, reason="no C compiler")


def compiled(at: Path, *flags: str) -> Path:
    assert COMPILER is not None
    made = at / "processor"
    subprocess.run([COMPILER, *FLAGS, *flags, PROGRAM, "-o", made], check=True)
    return made


@pytest.mark.parametrize("tunables", ["", "glibc.pthread.rseq=0"], ids=["registered", "not registered"])
def test_it_is_the_one_that_the_thread_is_pinned_to(tmp_path: Path, tunables: str) -> None:
    ran = subprocess.run([compiled(tmp_path)], env={**os.environ, "GLIBC_TUNABLES": tunables})
    assert ran.returncode == 0


def test_a_compiler_without_has_builtin_will_do(tmp_path: Path) -> None:
    assert COMPILER is not None
    without = [COMPILER, *FLAGS, "-w", "-U__has_builtin", "-fsyntax-only", PROGRAM]
    assert subprocess.run([each for each in without if each != "-Werror"]).returncode == 0
