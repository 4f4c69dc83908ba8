"""hw/_cpu/channel.c and channel_table.c, interrupted between two given steps by who does what he may do there."""

from __future__ import annotations

import subprocess
import sysconfig
from pathlib import Path

import pytest

TREE = Path(__file__).parents[2]
FLAGS = ("-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-pthread", "-Ihw/_cpu", "-Ihw")


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = tmp_path_factory.mktemp("steps") / "channel_steps"
    sources = ("tests/stress/channel_steps.c", "hw/_cpu/channel.c")
    subprocess.run(["gcc", *FLAGS, "-o", program, *sources], cwd=TREE, check=True)
    return program


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = tmp_path_factory.mktemp("steps") / "table_steps"
    sources = ("tests/stress/table_steps.c", "hw/_cpu/channel_table.c", "hw/_cpu/channel.c")
    headers = f"-I{sysconfig.get_path('include')}"
    subprocess.run(["gcc", *FLAGS, headers, "-o", program, *sources], cwd=TREE, check=True)
    return program


@pytest.mark.parametrize(
    "case",
    [
        "taken_while_rival_announces",
        "death_told_during_next_call",
        "death_between_answer_and_wake",
        "announced_between_post_and_wake",
        "announced_before_and_after_a_wake",
        "looked_at_during_two_calls",
        "answered_while_client_announces",
        "taken_while_client_withdraws",
        "withdrawn_with_its_number",
        "gone_while_request_is_copied",
        "gone_while_answer_is_copied",
    ],
)
def test_interrupted_step(steps: Path, case: str) -> None:
    done = subprocess.run([steps, case], stdout=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize(
    "case",
    [
        "filled_anew_before_it_is_received_by",
        "filled_anew_before_it_is_bound",
        "given_back_while_it_is_answered",
        "left_alone",
    ],
)
def test_a_place_that_the_keeper_takes_back_meanwhile(table: Path, case: str) -> None:
    done = subprocess.run([table, case], stdout=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
