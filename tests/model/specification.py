"""The abstract specification: what each system call does to sets, dictionaries, lists and trees.

It knows nothing of RAM, records or rings. `Specification.syscall` carries out one system call of one thread, and
whatever becomes able to go on because of it, and says which completions are seen by whom.
"""

from __future__ import annotations

from libsel4py import abi
from libsel4py.abi import Error, ExceptionNumber, FaultLabel, Label, Status, Syscall
from tests.model import (
    channel_invocations,
    invocations,
    mapping_invocations,
    messages,
    notices,
    signals,
    thread_invocations,
    touches,
)
from tests.model.addressing import Unresolved
from tests.model.capability import Capability, Kind
from tests.model.derivation import Place
from tests.model.invocations import Refused
from tests.model.messages import Faulted
from tests.model.system import Completion, State, Submission, System, Thread
from tests.model.waiting import cancel

NOT_IN_FIRST_PHASE = (
    Kind.TCB,
    Kind.CNODE,
    Kind.DOMAIN,
    Kind.SCHED_CONTROL,
    Kind.SCHED_CONTEXT,
    Kind.CHANNEL,
    Kind.DEATH_NOTICE,
)
BLOCKED = (State.BLOCKED_ON_RECEIVE, State.BLOCKED_ON_SEND, State.BLOCKED_ON_REPLY, State.BLOCKED_ON_NOTIFICATION)


class Specification:
    """A system, and what is done to it.

    Attributes:
        system: the state, for comparison.
    """

    def __init__(self, system: System) -> None:
        self.system = system

    def syscall(self, address: int, submission: Submission) -> list[tuple[int, Completion]]:
        """One system call of a thread that can make one; the completions that are seen, each with its thread."""
        system, thread = self.system, self.system.threads[address]
        system.seen = []
        thread.submission = submission
        self._carry_out(thread)
        self._go_on()
        return system.seen

    def cancel(self, address: int) -> list[tuple[int, Completion]]:
        """A CANCEL of a thread that waits in a system call, and has processor time: both completions are seen."""
        system, thread = self.system, self.system.threads[address]
        assert thread.submission is not None, "it is in no system call"
        assert thread.state in BLOCKED, "its system call does not wait"
        system.seen = []
        cancel(system, thread)
        system.set_state(thread, State.RUNNING)
        system.complete(thread, Completion(status=Status.CANCELLED))
        system.settle()
        system.complete(thread, Completion())
        self._go_on()
        return system.seen

    def pass_time(self) -> list[tuple[int, Completion]]:
        """So much time that everybody's budget is replenished."""
        system = self.system
        system.seen = []
        for context in system.contexts.values():
            if context.postponed:
                context.postponed = False
                if context.thread is not None:
                    system.touched[context.thread] = None
        self._go_on()
        return system.seen

    def _go_on(self) -> None:
        """Let the changes be seen, and carry out what is to be carried out again."""
        system = self.system
        system.settle()
        while system.restarts:
            address = system.restarts.pop(0)
            thread = system.threads[address]
            if thread.submission is not None and thread.state is State.RESTART and system.may_run(thread):
                thread.state = State.RUNNING
                self._carry_out(thread)
            system.settle()

    def _carry_out(self, thread: Thread) -> None:
        try:
            self._dispatch(thread)
        except Faulted as fault:
            messages.fault(self.system, thread, fault)
            return
        alive = self.system.threads.get(thread.address) is thread
        if alive and thread.submission is not None and thread.state is State.RUNNING:
            self.system.complete(thread, Completion())

    def _dispatch(self, thread: Thread) -> None:
        call = thread.submission
        assert call is not None
        match call.op:
            case Syscall.CALL:
                self._invoke(thread, call.cptr, blocking=True, is_call=True)
            case Syscall.SEND:
                self._invoke(thread, call.cptr, blocking=True)
            case Syscall.NB_SEND:
                self._invoke(thread, call.cptr, blocking=False)
            case Syscall.REPLY_RECV:
                self._invoke(thread, call.reply, blocking=False, first_phase=True)
                self._receive(thread, blocking=True, brings_reply=True)
            case Syscall.NB_SEND_RECV | Syscall.NB_SEND_WAIT:
                self._invoke(thread, call.dest, blocking=False, first_phase=True, can_donate=True)
                self._receive(thread, blocking=True, brings_reply=call.op == Syscall.NB_SEND_RECV)
            case Syscall.RECV | Syscall.NB_RECV:
                self._receive(thread, blocking=call.op == Syscall.RECV, brings_reply=True)
            case Syscall.WAIT | Syscall.NB_WAIT:
                self._receive(thread, blocking=call.op == Syscall.WAIT, brings_reply=False)
            case Syscall.YIELD:
                assert thread.context is not None
                context = self.system.contexts[thread.context]
                context.postponed = context.held
            case Syscall.LISTEN:
                self._listen(thread, call.cptr)
            case Syscall.FAULT:
                words = touches.missed(self.system, thread)
                if words is not None:
                    raise Faulted(FaultLabel.VM_FAULT, *words)
            case Syscall.EXIT:
                status = (call.registers[0] & 255) << 8
                raise Faulted(FaultLabel.USER_EXCEPTION, 0, 0, ExceptionNumber.DEATH, status)
            case _:
                raise Faulted(FaultLabel.UNKNOWN_SYSCALL, call.op & abi.WORD_MASK)

    # --- the sending half

    def _invoke(
        self,
        thread: Thread,
        cptr: int,
        *,
        blocking: bool,
        is_call: bool = False,
        first_phase: bool = False,
        can_donate: bool = False,
    ) -> None:
        try:
            try:
                place = messages.lookup(self.system, thread, cptr)
            except Unresolved as failure:
                raise Faulted.by_lookup(cptr, False, failure) from None
            extra = messages.lookup_extra_caps(self.system, thread)
        except Faulted:
            if blocking:
                raise
            return
        held = self.system.held(place)
        try:
            if held is not None and held.kind is Kind.ENDPOINT:
                if not held.writable:
                    raise Refused(Error.INVALID_CAPABILITY, 0)
                donates = is_call or can_donate
                messages.send(self.system, thread, held, blocking=blocking, is_call=is_call, can_donate=donates)
                return
            if held is None or (first_phase and held.kind in NOT_IN_FIRST_PHASE):
                raise Refused(Error.INVALID_CAPABILITY, 0)
            answer = self._method(thread, place, held, extra)
        except Refused as refusal:
            label, answer = int(refusal.error), refusal.words
        else:
            label = 0
        if is_call and thread.submission is not None:
            self._answer(thread, label, answer)

    def _answer(self, thread: Thread, label: int, answer: tuple[int, ...]) -> None:
        if thread.submission is not None:
            first, second, third, fourth = (*answer, 0, 0, 0, 0)[:4]
            info = abi.message_info(label, len(answer))
            more = () if thread.submission.inline else tuple(answer[4:])
            self.system.complete(thread, Completion(0, info, (first, second, third, fourth), more))

    def _listen(self, thread: Thread, cptr: int) -> None:
        label = 0
        try:
            source = messages.lookup(self.system, thread, cptr) if cptr else None
            answer = channel_invocations.listen(self.system, thread, source)
        except Unresolved as failure:
            raise Faulted.by_lookup(cptr, False, failure) from None
        except Refused as refusal:
            label, answer = int(refusal.error), refusal.words
        self._answer(thread, label, answer)

    def _method(self, thread: Thread, place: Place, held: Capability, extra: list[Place]) -> tuple[int, ...]:
        """Do what an invocation of something else than an endpoint does; the reply's words."""
        system, call = self.system, thread.submission
        assert call is not None
        caps = [system.held(source) for source in extra]
        sent = thread_invocations.Arguments(call.label, call.message, extra)
        match held.kind:
            case Kind.NOTIFICATION:
                if not held.writable:
                    raise Refused(Error.INVALID_CAPABILITY, 0)
                signals.signal(system, held.address, held.badge)
            case Kind.REPLY:
                messages.reply_to(system, thread, held)
            case Kind.UNTYPED:
                if call.label != Label.UNTYPED_RETYPE:
                    raise Refused(Error.ILLEGAL_OPERATION)
                invocations.retype(system, thread, system.holding(place), call.message, caps)
            case Kind.CNODE:
                invocations.cnode(system, held, call.label, call.message, caps)
            case Kind.TCB:
                thread_invocations.tcb(system, thread, system.threads[held.address], sent)
            case Kind.SCHED_CONTEXT:
                return thread_invocations.sched_context(system, thread, held.address, sent)
            case Kind.CHANNEL:
                return channel_invocations.channel(system, thread, held.address, call.label, extra)
            case Kind.DEATH_NOTICE:
                return notices.notice(system, held.address, call.label, extra)
            case Kind.SCHED_CONTROL:
                thread_invocations.sched_control(system, sent)
            case Kind.FRAME:
                return mapping_invocations.frame(system, system.holding(place), call.label, call.message, caps)
            case Kind.IO_SPACE_CONTROL:
                mapping_invocations.assign(system, call.label, call.message, caps)
            case Kind.ZOMBIE:
                raise Refused(Error.INVALID_CAPABILITY, 0)
            case _:  # the rules invoke the others by other objects' labels alone
                raise Refused(Error.ILLEGAL_OPERATION)
        return ()

    # --- the receiving half

    def _receive(self, thread: Thread, *, blocking: bool, brings_reply: bool) -> None:
        call = thread.submission
        assert call is not None
        held = self._receivable(thread, call.cptr)
        if held is None or not held.readable:
            raise messages.missing(call.cptr)
        if held.kind is Kind.ENDPOINT:
            reply = None
            if brings_reply:
                found = self._receivable(thread, call.reply)
                if found is None or found.kind is not Kind.REPLY:
                    raise messages.missing(call.reply)
                reply = found.address
            messages.receive(self.system, thread, held.address, reply, blocking=blocking)
        elif held.kind is Kind.NOTIFICATION:
            if self.system.notifications[held.address].bound not in (None, thread.address):
                raise messages.missing(call.cptr)
            signals.wait(self.system, thread, held.address, blocking=blocking)
        else:
            raise messages.missing(call.cptr)

    def _receivable(self, thread: Thread, cptr: int) -> Capability | None:
        try:
            return self.system.held(messages.lookup(self.system, thread, cptr))
        except Unresolved as failure:
            raise Faulted.by_lookup(cptr, True, failure) from None
