"""Sizes and times as people write them: ``256M``, ``10ms``. A number without its unit is refused."""

from __future__ import annotations

import re
from typing import Final

_SIZE_UNITS: Final = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_TIME_UNITS: Final = {"us": 1, "ms": 1_000, "s": 1_000_000}


def parse_size(text: str) -> int:
    """Bytes of ``64K``, ``256M``, ``4G`` or ``1T`` (powers of 1024). Raises ValueError on anything else."""
    match = re.fullmatch(r"([0-9]{1,12})([KMGT])", text)
    if not match:
        raise ValueError("write a whole number with K, M, G or T, such as '32M'")
    return int(match[1]) * _SIZE_UNITS[match[2]]


def parse_duration(text: str) -> int:
    """Microseconds of ``500us``, ``10ms`` or ``1s``. Raises ValueError on anything else."""
    match = re.fullmatch(r"([0-9]{1,12})(us|ms|s)", text)
    if not match:
        raise ValueError("write a whole number with us, ms or s, such as '10ms'")
    return int(match[1]) * _TIME_UNITS[match[2]]


def format_size(size: int) -> str:
    """Bytes in the largest unit that leaves a whole number: ``32M``."""
    for unit, factor in reversed(_SIZE_UNITS.items()):
        if size and size % factor == 0:
            return f"{size // factor}{unit}"
    return f"{size}B"


def format_duration(microseconds: int) -> str:
    """Microseconds in the largest unit that leaves a whole number: ``10ms``."""
    for unit, factor in reversed(_TIME_UNITS.items()):
        if microseconds and microseconds % factor == 0:
            return f"{microseconds // factor}{unit}"
    return f"{microseconds}us"
