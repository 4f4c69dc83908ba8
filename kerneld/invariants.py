"""What is true of RAM between any two transactions.

The predicates are in `capability_invariants.py` (capabilities, derivation order, untyped memory, the kernel's tables),
`thread_invariants.py` (threads, queues, replies, scheduling contexts), `channel_invariants.py`,
`mapping_invariants.py`, `notice_invariants.py`, `budget_invariants.py` and `cores/invariants.py`. Tests check them
after every transaction, `sel4py fsck` on a live system or an image, and the kernel when it is restarted.
"""

from __future__ import annotations

from hw.ram import Ram, RamError
from kerneld import (
    budget_invariants,
    capability_invariants,
    channel_invariants,
    mapping_invariants,
    notice_invariants,
    thread_invariants,
)
from kerneld.cores import invariants as core_invariants
from kerneld.predicates import Predicate, Violation
from kerneld.survey import Survey, survey

__all__ = ["PREDICATES", "Predicate", "Violation", "check"]

PREDICATES: tuple[Predicate, ...] = (
    *capability_invariants.PREDICATES,
    *thread_invariants.PREDICATES,
    *channel_invariants.PREDICATES,
    *mapping_invariants.PREDICATES,
    *notice_invariants.PREDICATES,
    *core_invariants.PREDICATES,
    *budget_invariants.PREDICATES,
)


def check(ram: Ram, found: Survey | None = None) -> list[Violation]:
    """All that is wrong with RAM; empty when it is sound. RAM may hold anything. ``found``: a survey of it."""
    found = survey(ram) if found is None else found
    violations = []
    for item in PREDICATES:
        if item.name in found.held:
            continue
        try:
            violations += [Violation(item.name, item.sentence, detail) for detail in item.contradictions(found)]
        except RamError as error:
            violations.append(
                Violation(item.name, item.sentence, f"RAM cannot be read where a record says so: {error}")
            )
    return violations
