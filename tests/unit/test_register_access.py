"""Loads and stores of a device's registers, instruction by instruction: compiled alone, here and for AArch64."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.unit.test_aarch64 import COMPILER, EMULATOR, FLAGS, INCLUDES, ROOT

NATIVE = shutil.which("cc")
CROSS = pytest.mark.skipif(COMPILER is None or EMULATOR is None, reason="no cross compiler and emulator")
OF_CPU = [ROOT / "hw" / "_cpu" / name for name in ("access.c", "instruction.c", "fault_machine.c")]


@pytest.mark.parametrize(
    ("compiler", "emulator"), [(NATIVE, None), pytest.param(COMPILER, EMULATOR, marks=CROSS)], ids=["here", "aarch64"]
)
def test_each_form_does_to_a_register_what_it_does_to_memory(
    compiler: str, emulator: str | None, tmp_path: Path
) -> None:
    program, sources = tmp_path / "forms", (ROOT / "tests" / "stress" / "register_access.c", *OF_CPU)
    subprocess.run([compiler, *FLAGS, *INCLUDES, "-static", *sources, "-o", program], check=True)
    ran = subprocess.run([*([emulator] if emulator else []), program], capture_output=True, text=True, timeout=60)
    assert (ran.returncode, ran.stdout) == (0, "all as it should be\n")
