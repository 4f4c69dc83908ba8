"""A benchmark that is ended leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.system.conftest import ROOT, SECONDS

MEASURING = b"measuring: calls"  # when its system is up
ENDS = [(signal.SIGTERM, 128 + signal.SIGTERM), (signal.SIGINT, -signal.SIGINT)]


@pytest.mark.parametrize(("number", "status"), ENDS)
def test_an_ended_benchmark_leaves_no_folder_and_no_process(
    tmp_path: Path, number: signal.Signals, status: int
) -> None:
    bench = subprocess.Popen(
        [sys.executable, "-m", "bench", "kernel", "--quick"],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),  # a shell's job in the background ignores SIGINT
    )
    assert bench.stderr is not None
    with bench, bench.stderr:
        said = next((line for line in bench.stderr if line.startswith(MEASURING)), b"")
        left = list(tmp_path.iterdir())
        bench.send_signal(number)
        rest = bench.stderr.read()  # to its end: whoever has it open has ended
        assert bench.wait(SECONDS) == status, rest.decode()
    assert said
    assert left, "it has a folder while it measures"
    assert not list(tmp_path.iterdir())
