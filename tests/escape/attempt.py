"""The form of an attempt to escape, and how one is told to have gone.

An attempt is a file `attempts/FAMILY/NAME.py`: a docstring whose last lines say who should stop it (`Stopped by:`, one
or more of `Layer`) and whether it can be shown to succeed where nothing stops it (`Outside:`, one of `Outside`, and a
reason where it cannot); and a function ``attempt(stage)``. That returns what it gained, something true. It returns
nothing, raises OSError, KernelError, ServiceError or `Stopped`, or ends its process, if it gained nothing; and it
raises `NotHere` where this host lacks what it attacks. Any other exception is a bug of the attempt, and a failure of
the test: an attempt that breaks down proves nothing.

Rule: an attempt does no harm where it succeeds. It asks for what is there already, or acts on what the stage gives it.
"""

from __future__ import annotations

import errno
import importlib
import os
import pkgutil
import re
import signal
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from types import ModuleType
from typing import Any, Final

from libsel4py.errors import InvalidMessage, KernelError, ServiceError, Timeout
from tests.escape import attempts

SUCCEEDED, NOT_HERE, BROKEN, KERNEL, TIMED_OUT, SERVICE, DROPPED, OF_ERRNO = 77, 78, 79, 80, 81, 82, 113, 128
DEPUTIES: Final = "deputies"  # the family that is carried out beside servers
_BY: Final = {
    KERNEL: "the kernel's error",
    TIMED_OUT: "time-out",
    SERVICE: "the server's error",
    DROPPED: "its keeper",
}
_FORM: Final = re.compile(
    r"(?P<tried>.+?)\n\nStopped by: (?P<layers>[\w, ]+)\nOutside: (?P<outside>\w+)(?P<why>.*)\n?", re.DOTALL
)


class Stopped(Exception):
    """The attempt has met its end in a way that is no exception by itself."""


class NotHere(Exception):
    """This host lacks what is attacked."""


class Layer(StrEnum):
    """Who stops an attempt."""

    SECCOMP = "seccomp"  # the filter of the host's system calls
    LANDLOCK = "landlock"
    LIMITS = "limits"  # rlimits
    CAPABILITIES = "capabilities"  # Linux's, which root has
    DESCRIPTORS = "descriptors"  # those that were never handed over
    HIDDEN = "hidden"  # the system's own processes show nobody their memory (PR_SET_DUMPABLE)
    NAMESPACES = "namespaces"
    PID = "pid"  # the namespace of the tasks' numbers of processes
    CGROUP = "cgroup"  # the control group of all tasks of the system
    TREE = "tree"  # a root with code alone
    MMU = "mmu"
    KERNEL = "kernel"  # kerneld, by its capabilities and its checks of rings
    SERVER = "server"
    SDK = "sdk"  # the other side's half of a protocol in shared memory


class Outside(StrEnum):
    """Where an attempt is shown to succeed."""

    WORKS = "works"  # in an ordinary process
    NAMESPACES = "namespaces"  # in one whose user may make user namespaces
    OWNER = "owner"  # in one of whoever may write this code
    ROOT = "root"  # in one of root's
    GRANTED = "granted"  # in a task that was granted what it takes
    NO = "no"  # nowhere: what it attacks exists inside alone, and nobody may do it


@dataclass(frozen=True, slots=True)
class Attempt:
    """One file. `family` and `name` are its place; `tried` says what is tried."""

    family: str
    name: str
    tried: str
    layers: tuple[Layer, ...]
    outside: Outside
    why: str
    function: Callable[[Any], object]  # of a `Stage`, or of a `held.Held`

    @property
    def path(self) -> str:
        return f"{self.family}/{self.name}"


class Fate(StrEnum):
    """How an attempt went."""

    SUCCEEDED = "succeeded"
    REFUSED = "refused"
    KILLED = "killed"
    FAULTED = "faulted"  # its thread, in the sense of the kernel
    ENDED = "ended"  # by the kernel, because it did not end by itself
    NOT_HERE = "not here"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it went, and by what: an error's name, a signal's, a fault's label."""

    fate: Fate
    by: str = ""

    def __str__(self) -> str:
        return f"{self.fate}: {self.by}" if self.by else str(self.fate)


@cache
def corpus() -> tuple[Attempt, ...]:
    """All attempts, in the order of their paths."""
    found = []
    for family in pkgutil.iter_modules(attempts.__path__, f"{attempts.__name__}."):
        package = importlib.import_module(family.name)
        for module in pkgutil.iter_modules(package.__path__, f"{family.name}."):
            found.append(_read(importlib.import_module(module.name)))
    return tuple(sorted(found, key=lambda attempt: attempt.path))


def _read(module: ModuleType) -> Attempt:
    family, name = module.__name__.split(".")[-2:]
    form = _FORM.fullmatch(module.__doc__ or "")
    if form is None:
        raise ValueError(
            f"{module.__name__}: its docstring does not say what is tried, who stops it, and where it works"
        )
    layers = tuple(Layer(each.strip()) for each in form["layers"].split(","))
    outside, why = Outside(form["outside"]), form["why"].strip(", \n")
    if outside is Outside.NO and not why:
        raise ValueError(f"{module.__name__}: an attempt that works nowhere must say why")
    return Attempt(family, name, " ".join(form["tried"].split()), layers, outside, why, module.attempt)


def run(attempt: Attempt, stage: object) -> int:
    """Carry it out in this process. Returns an exit status, of which `outcome_of` knows the meaning."""
    try:
        return SUCCEEDED if attempt.function(stage) else 0
    except Timeout:
        return TIMED_OUT
    except OSError as error:
        return OF_ERRNO + (error.errno or 0) % 128
    except (KernelError, ServiceError, InvalidMessage) as refused:
        print(f"{attempt.path}: {refused!r}", flush=True)
        return KERNEL if isinstance(refused, KernelError) else SERVICE
    except (Stopped, MemoryError) as end:
        print(f"{attempt.path}: {end}", flush=True)
        return 0
    except NotHere as missing:
        print(f"{attempt.path}: {missing}", flush=True)
        return NOT_HERE
    except BaseException:
        print(f"{attempt.path} is broken:", flush=True)
        traceback.print_exc()
        return BROKEN


def outcome_of(wait_status: int) -> Outcome:
    """What a process's end says of the attempt that ran in it."""
    if os.WIFSIGNALED(wait_status):
        number = os.WTERMSIG(wait_status)
        return Outcome(Fate.KILLED, signal.Signals(number).name)
    code = os.WEXITSTATUS(wait_status)
    named = {SUCCEEDED: Fate.SUCCEEDED, NOT_HERE: Fate.NOT_HERE, BROKEN: Fate.BROKEN, 0: Fate.REFUSED}
    if code in named:
        return Outcome(named[code])
    by = {
        KERNEL: "the kernel's error",
        TIMED_OUT: "time-out",
        SERVICE: "the server's error",
        DROPPED: "its keeper",
    }.get(code)
    if by is None and code >= OF_ERRNO:
        by = errno.errorcode.get(code - OF_ERRNO, str(code - OF_ERRNO))
    return Outcome(Fate.REFUSED, by) if by else Outcome(Fate.BROKEN, f"exit status {code}")
