"""What depends on the processor in a fault: the guarded copy, compiled alone, here and for AArch64 in an emulator."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.unit.test_aarch64 import COMPILER, EMULATOR, FLAGS, INCLUDES, ROOT

NATIVE = shutil.which("cc")
CROSS = pytest.mark.skipif(COMPILER is None or EMULATOR is None, reason="no cross compiler and emulator")


@pytest.mark.parametrize(
    ("compiler", "emulator"), [(NATIVE, None), pytest.param(COMPILER, EMULATOR, marks=CROSS)], ids=["here", "aarch64"]
)
def test_a_guarded_copy_faults_at_every_byte(compiler: str, emulator: str | None, tmp_path: Path) -> None:
    sources = (ROOT / "tests" / "stress" / "fault_copy.c", ROOT / "hw" / "_cpu" / "fault_machine.c")
    subprocess.run([compiler, *FLAGS, *INCLUDES, "-static", *sources, "-o", tmp_path / "copy"], check=True)
    run = [*([emulator] if emulator else []), tmp_path / "copy"]
    ran = subprocess.run(run, capture_output=True, text=True, timeout=60)
    assert (ran.returncode, ran.stdout) == (0, "all as it should be\n")
