"""How much is measured."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sizes:
    """``seconds`` is one contender's turn in a round, ``window`` that of a crowd. ``revocations`` a round."""

    rounds: int
    seconds: float
    window: float
    pauses: int
    pause_us: int
    revocations: int
    revoked_channels: int
    clients: int
    pairs: int
    curve_rounds: int
    curve_step: int


FULL = Sizes(
    rounds=9,
    seconds=0.1,
    window=0.5,
    pauses=100,
    pause_us=1000,
    revocations=100,
    revoked_channels=1000,
    clients=100,
    pairs=16,
    curve_rounds=5,
    curve_step=64,
)
QUICK = Sizes(
    rounds=9,
    seconds=0.03,
    window=0.2,
    pauses=20,
    pause_us=1000,
    revocations=20,
    revoked_channels=1000,
    clients=100,
    pairs=16,
    curve_rounds=3,
    curve_step=192,
)
