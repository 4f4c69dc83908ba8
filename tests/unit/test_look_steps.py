"""hw/_cpu/look.c, by a clock of the test's: a thread looks only where that can pay, and no longer than waking costs."""

from __future__ import annotations

import subprocess
import sysconfig
from pathlib import Path

import pytest

TREE = Path(__file__).parents[2]
FLAGS = ("-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-Ihw/_cpu", "-Ihw", "-Ihw/_ram")


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = tmp_path_factory.mktemp("steps") / "look_steps"
    headers = f"-I{sysconfig.get_paths()['include']}"
    sources = ("tests/stress/look_steps.c", "hw/_cpu/look.c")
    subprocess.run(["gcc", *FLAGS, headers, "-o", program, *sources], cwd=TREE, check=True)
    return program


@pytest.mark.parametrize(
    "case",
    [
        "peer_on_the_same_processor",
        "no_longer_than_waking_costs",
        "none_where_others_want_the_processors",
        "what_does_not_pay_is_given_up",
        "not_past_the_deadline",
    ],
)
def test_a_look(steps: Path, case: str) -> None:
    done = subprocess.run([steps, case], stdout=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
