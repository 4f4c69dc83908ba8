"""How root gets back what it knew of a system that is resumed: it builds it again, and no invocation is carried out.

What root makes of BootInfo and the description depends on nothing else: the same slots, the same memory. So a second
run of the same steps, against a machine that says yes to everything, leaves root with the books of the first one, and
the kernel's objects as they are.

Rules: nothing in the block may depend on what an invocation returns, or on anything outside of BootInfo. What root has
changed later and not given back is not known afterwards: it changes things in place, or undoes them. Two things it
looks after itself: what it had for a moment in slots that are free by its books, and which body of a task served.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from libsel4py.abi import INITIAL_CNODE_BITS, InitialSlot
from libsel4py.lowlevel.batch import Batch
from libsel4py.lowlevel.identify import identify, occupied_slots
from libsel4py.lowlevel.machine import BatchEntry, Completion, Cpu, installed, machine
from servers.root.authority import Authority

_DONE: Final[Completion] = (0, 0, 0, 0, 0, 0, 0)


class _Agreeing:
    """A machine that does nothing, and says that it worked; what is no system call is the real machine's."""

    def __init__(self, real: Cpu) -> None:
        self._real = {name: getattr(real, name) for name in type(real).__slots__}  # type: ignore[attr-defined]

    def __getattr__(self, name: str) -> object:
        return self._real[name]

    def trap(self, *_: int) -> Completion:
        return _DONE

    def kernel_trap(self, *_: int) -> Completion:
        return _DONE

    def call(self, *_: int) -> Completion:
        return _DONE

    def batch(self, entries: Sequence[BatchEntry]) -> list[Completion]:
        return [_DONE] * len(entries)


def empty_free_slots(authority: Authority) -> None:
    """Delete what root had for a moment when it was stopped: it stands where the next thing is to be made."""
    occupied = occupied_slots(authority.cnode.cptr, 1 << INITIAL_CNODE_BITS)
    with Batch() as batch:
        for slot in occupied:
            if authority.slots.is_known(slot) and authority.slots.is_free(slot):
                batch.queue(authority.cnode.delete, slot)


@contextmanager
def replayed(is_resumed: bool) -> Iterator[None]:
    """Carry out the block's invocations, or with ``is_resumed`` none of them."""
    if not is_resumed:
        yield
        return
    identify(InitialSlot.TCB)  # binds the real machine: done in the block, that would put it in place of the other
    with installed(_Agreeing(machine)):  # type: ignore[arg-type]  # by __getattr__
        yield
