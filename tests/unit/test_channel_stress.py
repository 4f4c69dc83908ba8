"""The channel's protocol in C, alone: compiled under ThreadSanitizer and as it is built, and stressed by threads."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = (ROOT / "tests" / "stress" / "channel_stress.c", ROOT / "hw" / "_cpu" / "channel.c")
FLAGS = ("-std=gnu11", "-g", "-Wall", "-Wextra", "-Werror", f"-I{ROOT / 'hw'}", f"-I{ROOT / 'hw' / '_cpu'}", "-pthread")
SECONDS, SEED = 2, 1


def build(folder: Path, *flags: str) -> Path:
    program = folder / "stress"
    compiler = os.environ.get("CC", "cc")
    subprocess.run([compiler, *FLAGS, *flags, *SOURCES, "-o", program], check=True, capture_output=True, text=True)
    return program


def has_sanitizer(folder: Path) -> bool:
    """Whether a program under ThreadSanitizer can be built and run here at all."""
    source, program = folder / "empty.c", folder / "empty"
    source.write_text("int main(void) { return 0; }\n")
    built = subprocess.run(
        [os.environ.get("CC", "cc"), "-fsanitize=thread", source, "-o", program], capture_output=True
    )
    return built.returncode == 0 and subprocess.run([program], capture_output=True).returncode == 0


@pytest.mark.parametrize(("clients", "servers"), [(1, 1), (1, 3), (4, 2)])
@pytest.mark.parametrize("flags", [("-O2",), ("-O1", "-fsanitize=thread")], ids=["built", "sanitized"])
def test_no_race_no_wrong_answer_and_nothing_served_twice(
    tmp_path: Path, flags: tuple[str, ...], clients: int, servers: int
) -> None:
    if "-fsanitize=thread" in flags and not has_sanitizer(tmp_path):
        pytest.skip("ThreadSanitizer's runtime is not installed, or cannot run here (gcc's libtsan)")
    program = build(tmp_path, *flags)
    ran = subprocess.run(
        [program, str(SECONDS), str(clients), str(servers), str(SEED)], capture_output=True, text=True, timeout=60
    )
    assert (ran.returncode, ran.stderr) == (0, ""), ran.stdout + ran.stderr
    words = ran.stdout.split()
    counts = {name.rstrip(","): int(number) for number, name in zip(words[::2], words[1::2], strict=True)}
    # Each call was taken, withdrawn, or on its way when time was up.
    assert counts["calls"] - clients <= counts["taken"] + counts["withdrawn"] <= counts["calls"]
    assert counts["taken"] > 0, ran.stdout
