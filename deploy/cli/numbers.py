"""Numbers of seconds and rates on a command line."""

from __future__ import annotations

import math
from typing import Any, Final

import click


class Finite(click.FloatRange):
    """A range of numbers that can be counted with: neither `nan` nor `inf`, which `float` reads as well."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(
                f"{value!r} is no number that can be counted with; {self._describe_range()} is possible", param, ctx
            )
        return number


SECONDS: Final = Finite(0, 1e6, min_open=True)
