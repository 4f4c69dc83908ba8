"""lwIP and its shim, compiled with AddressSanitizer and UndefinedBehaviorSanitizer, under the tests of the stack."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from servers.network.stack import is_built

ROOT = Path(__file__).resolve().parents[3]
# Of lwIP's source as it is: addresses in frames that stand at odd places, which x86 and AArch64 read as any other.
FLAGS = "-g -O1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize=alignment -fno-sanitize-recover=all"
NEEDED = ("libsel4py", "servers", "hw", "kerneld", "tests", "setup.py", "pyproject.toml", "build")
TESTS = (
    "test_stack.py",
    "test_syn_flood.py",
    "test_syn_cookies.py",
    "test_segment_sizes.py",
    "test_short_packets.py",
    "test_small_windows.py",
    "test_stack_leases.py",
    "test_stack_shares.py",
    "test_stack_with_linux.py",
    "test_stack_served.py",
)
SECONDS = 900


def runtime() -> str | None:
    """AddressSanitizer's library, where the compiler has one."""
    compiler = shutil.which("gcc")
    if compiler is None:
        return None
    found = subprocess.run([compiler, "-print-file-name=libasan.so"], capture_output=True, text=True, check=True)
    return found.stdout.strip() if "/" in found.stdout else None


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 100)
@pytest.mark.skipif(not is_built(), reason="this tree was built without lwIP's source (make build says why)")
def test_the_stack_touches_nothing_that_is_not_its_own(tmp_path: Path) -> None:
    """All tests of the stack, bad links and frames that are none among them, in a copy of the tree."""
    library = runtime()
    if library is None:
        pytest.skip("gcc with AddressSanitizer is not installed")
    for name in NEEDED:
        if (ROOT / name).is_dir():
            shutil.copytree(
                ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "temp.*", "lib.*")
            )
        elif (ROOT / name).exists():
            shutil.copy(ROOT / name, tmp_path)
    environment = {**os.environ, "CC": "gcc", "CFLAGS": FLAGS, "LDFLAGS": "-fsanitize=address,undefined"}
    (made,) = (tmp_path / "servers" / "network").glob("_lwip*.so")
    made.unlink()
    subprocess.run(
        [sys.executable, "setup.py", "-q", "build_ext", "--inplace", "--force"],
        cwd=tmp_path, env=environment, check=True,
    )  # fmt: skip
    assert b"__asan_init" in made.read_bytes(), "it was compiled without AddressSanitizer"
    for extension in ("hw", "kerneld"):  # Python itself has none: these stay as they are
        for path in (ROOT / extension).glob("*.so"):
            shutil.copy(path, tmp_path / extension)
    log = tmp_path / "report"
    environment = {
        **os.environ,
        "LD_PRELOAD": library,
        "ASAN_OPTIONS": f"detect_leaks=0:log_path={log}:abort_on_error=1",
        "UBSAN_OPTIONS": f"print_stacktrace=1:log_path={log}",
        "PYTHONMALLOC": "malloc",
        "PYTHONPATH": str(tmp_path),
    }
    which = "import servers.network._lwip as found; print(found.__file__)"
    said = subprocess.run(
        [sys.executable, "-c", which], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == str(made)
    tests = [f"tests/unit/servers/{name}" for name in TESTS]
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-m", "", *tests],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=SECONDS,
    )  # fmt: skip
    reports = "".join(path.read_text() for path in tmp_path.glob("report*"))
    assert not reports, reports
    assert ended.returncode == 0, ended.stdout + ended.stderr
    print(ended.stdout)
