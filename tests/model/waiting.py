"""How a wait ends in the specification: by a reply, or because it is cancelled (seL4's MCS API)."""

from __future__ import annotations

from tests.model.system import State, System, Thread


def end_wait(system: System, caller: Thread, reply: int) -> None:
    """The reply has come: what the call lent comes back, if the chain still holds and the caller has nothing else."""
    for address, context in system.contexts.items():
        if reply in context.calls:
            if context.calls[-1] == reply:
                context.calls.pop()
                if caller.context is None:
                    system.lend(address, caller)
            else:
                del context.calls[: context.calls.index(reply) + 1]
    part(system, caller, reply)


def part(system: System, thread: Thread, reply: int) -> None:
    system.replies[reply] = None
    thread.reply = None
    system.set_state(thread, State.INACTIVE)


def cancel(system: System, thread: Thread) -> None:
    """Take a thread out of whatever it waits for."""
    thread.fault = None
    match thread.state:
        case State.BLOCKED_ON_SEND | State.BLOCKED_ON_RECEIVE | State.BLOCKED_ON_NOTIFICATION:
            system.dequeue(thread)
            if thread.reply is not None:
                part(system, thread, thread.reply)
        case State.BLOCKED_ON_REPLY:
            assert thread.reply is not None
            for context in system.contexts.values():
                if thread.reply in context.calls:
                    del context.calls[: context.calls.index(thread.reply) + 1]
            part(system, thread, thread.reply)
        case _:
            return
    system.set_state(thread, State.INACTIVE)
