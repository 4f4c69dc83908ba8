"""Who acts in the state machine, and how: the part that all rules share."""

from __future__ import annotations

from functools import cache

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant

from libsel4py import abi
from tests import harness
from tests.model.capability import Kind
from tests.model.messages import lookup
from tests.model.strategies import (
    Contents,
)
from tests.model.system import State, Submission
from tests.model.world import World, build


@cache
def world() -> World:
    return build()


class Actors(RuleBasedStateMachine):
    """A manager and workers, in the kernel and in the specification."""

    @initialize(fast_path=st.booleans())
    def begin(self, fast_path: bool) -> None:
        self.world = world()
        self.pair = self.world.origin.begin(fast_path=fast_path)
        self.owned = self.world.owned

    @invariant()
    def sound(self) -> None:
        self.pair.machine.assert_invariants()

    def teardown(self) -> None:
        if hasattr(self, "pair"):
            self.pair.check_descendants()
            self.pair.machine.assert_invariants(by_reference=True)

    # --- who acts

    @property
    def manager(self) -> harness.Thread:
        return self.pair.machine.root

    def able(self, number: int) -> harness.Thread | None:
        """The worker, if it can make a system call now."""
        thread = self.world.workers[number]
        spec = self.pair.system.threads.get(thread.tcb.address)
        if spec is None or not thread.tcb.trap_frame or not self.pair.system.may_run(spec):
            return None
        idle = spec.state is State.RUNNING and spec.submission is None and spec.pending is None
        return thread if idle and spec.started else None

    def act(self, number: int, op: int, **arguments: object) -> None:
        thread = self.able(number)
        if thread is not None:
            self.pair.syscall(thread, Submission(op, **arguments))  # type: ignore[arg-type]

    def manage(self, cptr: int, label: int, words: tuple[int, ...] = (), caps: tuple[int, ...] = ()) -> None:
        """An invocation by the manager, who never waits: what would be a call to somebody is left out."""
        held = self.pair.system.held(lookup(self.pair.system, self.pair.spec_thread(self.manager), cptr))
        if held is None or held.kind is not Kind.ENDPOINT:
            self.pair.invoke(self.manager, cptr, label, words, caps)

    def speak(self, number: int, op: int, content: Contents, **arguments: int) -> None:
        """A system call that sends a message."""
        label, words, caps, inline = content
        info = abi.message_info(label, len(words), len(caps))
        self.act(number, op, info=info, words=words, caps=caps, inline=inline, **arguments)
