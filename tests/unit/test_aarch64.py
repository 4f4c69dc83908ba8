"""The C code compiles for AArch64, without a warning; and the channel's protocol runs there, where an emulator is."""

import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EMULATOR = shutil.which("qemu-aarch64") or shutil.which("qemu-aarch64-static")
FLAGS = ("-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-Wno-cast-function-type")
INCLUDES = [f"-I{ROOT / folder}" for folder in ("hw", "hw/_ram", "hw/_cpu")] + [f"-I{sysconfig.get_paths()['include']}"]


def _cross_compiler() -> str | None:
    """The cross compiler, if it can read this Python's headers: some distributions have them for one machine alone."""
    found = shutil.which("aarch64-linux-gnu-gcc")
    if found is None:
        return None
    probe = [found, *INCLUDES, "-fsyntax-only", "-xc", "-"]
    return None if subprocess.run(probe, input=b"#include <Python.h>\n", capture_output=True).returncode else found


COMPILER = _cross_compiler()
SOURCES = sorted(
    path
    for folder in ("hw/_cpu", "hw/_net", "hw/_ram", "kerneld/_fastpath", "kerneld/_survey")
    for path in (ROOT / folder).glob("*.c")
)

pytestmark = pytest.mark.skipif(
    COMPILER is None, reason="no cross compiler (Debian: gcc-aarch64-linux-gnu) for this Python's headers"
)


@pytest.mark.parametrize("source", SOURCES, ids=[f"{path.parent.name}/{path.name}" for path in SOURCES])
def test_it_compiles(source: Path, tmp_path: Path) -> None:
    assert COMPILER is not None
    compiled = subprocess.run(
        [COMPILER, *FLAGS, *INCLUDES, "-c", source, "-o", tmp_path / "object.o"], capture_output=True, text=True
    )
    assert (compiled.returncode, compiled.stderr) == (0, "")


@pytest.mark.skipif(EMULATOR is None, reason="no emulator (Debian: qemu-user)")
def test_the_channels_protocol_runs(tmp_path: Path) -> None:
    assert COMPILER is not None
    assert EMULATOR is not None
    sources = (ROOT / "tests" / "stress" / "channel_stress.c", ROOT / "hw" / "_cpu" / "channel.c")
    subprocess.run(
        [COMPILER, *FLAGS, *INCLUDES, "-static", *sources, "-o", tmp_path / "stress", "-lpthread"], check=True
    )
    run = [EMULATOR, tmp_path / "stress", "1", "3", "2", "1"]
    ran = subprocess.run(run, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stdout
