"""Whatever hostile tasks write, the kernel keeps its head: no exception, no broken invariant, nobody else stalls."""

from __future__ import annotations

import random
import time
from functools import cache

import pytest

from kerneld import layout
from libsel4py import abi
from tests.harness import Machine
from tests.model.attacker import Attacker
from tests.model.checkpoint import Checkpoint
from tests.model.hostile import Arena

ROUND = 40  # batches from a fresh start on
CHECK_EVERY = 4


@cache
def arena() -> tuple[Arena, Checkpoint]:
    machine = Machine(layout.MINIMUM_RAM, check=False, vspace_bits=abi.VSPACE_MIN_BITS)
    made = Arena.new(machine)
    made.check()
    return made, Checkpoint.of(machine)


def assault(entries: int, seed: int, *, fast_path: bool) -> Arena:
    """Rounds of attacks from the given seed on until so many entries were taken; a failure names its round."""
    on, checkpoint = arena()
    on.taken = 0
    number = 0
    while on.taken < entries:
        round_seed = seed + number
        checkpoint.restore(on.machine, fast_path=fast_path)
        attacker = Attacker(on, random.Random(round_seed))
        try:
            for batch in range(ROUND):
                goes_on = attacker.attack()
                if not goes_on or batch % CHECK_EVERY == 0:
                    on.check()
                if not goes_on:
                    break
        except BaseException as error:
            error.add_note(f"round of seed {round_seed}, batch {batch}, fast_path={fast_path}")
            raise
        number += 1
    return on


@pytest.mark.parametrize("fast_path", [False, True])
def test_hostile_bytes(fast_path: bool) -> None:
    assault(3000, 1000, fast_path=fast_path)


@pytest.mark.slow
@pytest.mark.parametrize("fast_path", [False, True])
def test_hostile_bytes_at_length(fast_path: bool, capsys: pytest.CaptureFixture[str]) -> None:
    start = time.perf_counter()
    taken = assault(60_000, 1_000_000, fast_path=fast_path).taken
    with capsys.disabled():
        print(f"\n{taken} hostile entries, {taken / (time.perf_counter() - start):.0f} a second")
