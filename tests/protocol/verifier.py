"""Runs Spin on a model of this folder: an exhaustive search for a run that breaks an assertion or gets stuck.

Every search is exhaustive: no bitstate hashing, states are kept whole (COLLAPSE compresses them without loss), and one
that ends for want of depth or memory is an error here, never a pass.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent
DEPTH_LIMIT = 1_000_000
MEMORY_LIMIT_MB = 6000


@dataclass(frozen=True)
class Question:
    """A model, the bounds within which it is explored, and a bug that is planted in it.

    With `liveness`, acceptance cycles under weak fairness are searched for instead of broken assertions: runs in which
    a call never returns.
    """

    model: str
    bounds: dict[str, int]
    mutant: str = ""
    liveness: bool = False

    def __str__(self) -> str:
        setting = " ".join(f"{name}={value}" for name, value in self.bounds.items())
        return f"{self.model}{' (liveness)' if self.liveness else ''} {self.mutant or setting}"


@dataclass(frozen=True)
class Search:
    """What one search found. `trail` is Spin's account of the run that broke something, empty if none did."""

    states: int
    depth: int
    seconds: float
    error: str
    trail: str

    def __str__(self) -> str:
        return f"{self.states:,} states, depth {self.depth}, {self.seconds:.1f} s: {self.error or 'holds'}"


def installed() -> bool:
    return shutil.which("spin") is not None and shutil.which("gcc") is not None


def _run(command: list[str], folder: Path, *, check: bool = True) -> str:
    result = subprocess.run(
        command, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    if check and result.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} ended with {result.returncode}:\n{result.stdout}")
    return result.stdout


def _number(pattern: str, text: str) -> float:
    match = re.search(pattern, text)
    if match is None:
        raise RuntimeError(f"pan's answer has no {pattern!r}:\n{text}")
    return float(match.group(1))


def search(question: Question, folder: Path) -> Search:
    """Explores the model in `folder` (a scratch one), to the first error."""
    model, mutant, liveness = question.model, question.mutant, question.liveness
    flags = [f"-D{name}={value}" for name, value in question.bounds.items()]
    flags += [f"-DMUTANT_{mutant}"] if mutant else []
    flags += ["-DLIVENESS"] if liveness else []
    for source in FOLDER.glob("*.pml"):
        shutil.copy(source, folder)
    said = _run(["spin", *flags, "-a", f"{model}.pml"], folder)
    if "rror" in said:
        raise RuntimeError(f"spin refuses {model}.pml:\n{said}")
    kind = ["-DNFAIR=3"] if liveness else ["-DSAFETY"]
    limits = ["-DCOLLAPSE", f"-DMEMLIM={MEMORY_LIMIT_MB}", "-DVECTORSZ=2048"]
    # The C code is Spin's: its warnings are not ours.
    _run(["gcc", "-O0" if mutant else "-O2", "-w", *kind, *limits, "-o", "pan", "pan.c"], folder)
    told = _run(["./pan", f"-m{DEPTH_LIMIT}", "-w20", *(["-a", "-f", "-A"] if liveness else [])], folder, check=False)
    found = re.search(r"^pan:\d+: (.*?)(?: \(at depth \d+\))?$", told, re.MULTILINE)
    if not found and ("Search not completed" in told or "max search depth too small" in told):
        raise RuntimeError(f"the search of {model}.pml is not complete:\n{told}")
    errors = int(_number(r"errors: (\d+)", told))
    if bool(found) != bool(errors):
        raise RuntimeError(f"pan's answer contradicts itself:\n{told}")
    return Search(
        states=int(_number(r"([\d.e+]+) states, stored", told)),
        depth=int(_number(r"depth reached (\d+)", told)),
        seconds=_number(r"elapsed time ([\d.e+-]+) seconds", told) if "elapsed time" in told else 0.0,
        error=found.group(1) if found else "",
        trail=_run(["spin", *flags, "-t", "-p", "-g", "-l", f"{model}.pml"], folder, check=False) if errors else "",
    )
