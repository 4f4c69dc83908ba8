"""The layers of a task's sandbox, and the switch by which a test leaves some out, to see what each of them stops.

Rules. The switch is the environment of whoever starts a system (`VARIABLE`), read once by its monitor. No task has an
environment, and nothing that a description or a task says reaches it. A system that lacks a layer says so in its log,
in `sel4py ps` and in `sel4py doctor`.
"""

from __future__ import annotations

import enum
import os
from collections.abc import Iterable, Mapping
from typing import Final

VARIABLE: Final = "SEL4PY_TEST_WITHOUT_LAYERS"
"""Names of layers, with commas between them; or `all`."""


class Layer(enum.Flag):
    """What a process is put under before the first line of its boot image. Values: hw/_cpu/cpu.h, enum layer."""

    SECCOMP = 1
    LANDLOCK = 2
    NAMESPACES = 4
    LIMITS = 8
    CAPABILITIES = 16
    DUMPABLE = 32
    PID = 64
    CGROUP = 128
    TREE = 256

    @classmethod
    def named(cls, names: Iterable[str]) -> Layer:
        """The layers of these names; `all` is each of them. Raises ValueError for another name."""
        found = cls(0)
        for name in names:
            if name == "all":
                return ~cls(0)
            try:
                found |= cls[name.upper()]
            except KeyError:
                known = ", ".join((*(str(each.name).lower() for each in cls), "all"))
                raise ValueError(f"no layer of the sandbox is called {name!r}; there are {known}") from None
        return found

    def names(self) -> tuple[str, ...]:
        """As `named` takes them."""
        return tuple(str(each.name).lower() for each in self)


NO_LAYER: Final = Layer(0)


def left_out(environment: Mapping[str, str] = os.environ) -> Layer:
    """The layers that a test has left out. Raises ValueError if the variable names another."""
    return Layer.named(filter(None, map(str.strip, environment.get(VARIABLE, "").split(","))))
