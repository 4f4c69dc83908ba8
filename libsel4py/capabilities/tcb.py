"""TCB: a thread (manual, chapter 6)."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from libsel4py.abi import THREAD_NAME_BYTES, Label
from libsel4py.capabilities.base import Capability, address
from libsel4py.capabilities.cnode import CNode
from libsel4py.capabilities.endpoint import Endpoint, Notification
from libsel4py.capabilities.frame import Frame, VSpace
from libsel4py.capabilities.sched_context import SchedContext
from libsel4py.lowlevel.invoke import invoke


class TCB(Capability):
    """A thread: its registers are the boot image that it runs and that image's arguments (see `abi`)."""

    __slots__ = ()

    def read_registers(self, flags: int, count: int) -> tuple[int, ...]:
        """``count`` registers (1..20) in the order of `abi.REGISTER_NAMES`; bit 0 of flags suspends first."""
        return invoke(self.cptr, Label.TCB_READ_REGISTERS, flags=flags, count=count)

    def write_registers(self, flags: int, registers: Sequence[int]) -> None:
        """Write the first registers in the order of `abi.REGISTER_NAMES`; bit 0 of flags resumes afterwards."""
        values = tuple(registers)
        invoke(self.cptr, Label.TCB_WRITE_REGISTERS, values, flags=flags, count=len(values))

    def copy_registers(self, source: TCB, flags: int) -> None:
        """Copy registers. flags: 1 suspend source, 2 resume target, 4 frame registers, 8 integer registers."""
        invoke(self.cptr, Label.TCB_COPY_REGISTERS, source=source.cptr, flags=flags)

    def configure(
        self,
        cspace_root: CNode,
        cspace_root_data: int,
        vspace_root: VSpace,
        vspace_root_data: int,
        buffer: int,
        buffer_frame: Frame | None,
    ) -> None:
        """Set capability space, address space and trap frame; a root's data of 0 leaves its guard as it is.

        Raises:
            IllegalOperation: not a CNode, a VSpace or a frame. AlignmentError: ``buffer``. RevokeFirst.
        """
        invoke(
            self.cptr,
            Label.TCB_CONFIGURE,
            cspace_root=cspace_root.cptr,
            cspace_root_data=cspace_root_data,
            vspace_root=vspace_root.cptr,
            vspace_root_data=vspace_root_data,
            buffer=buffer,
            buffer_frame=address(buffer_frame),
        )

    def set_priority(self, authority: TCB, priority: int) -> None:
        """Set the priority (0..255). Raises RangeError above ``authority``'s maximum controlled priority."""
        invoke(self.cptr, Label.TCB_SET_PRIORITY, authority=authority.cptr, priority=priority)

    def set_mc_priority(self, authority: TCB, mcp: int) -> None:
        """Set the maximum controlled priority. Raises RangeError above ``authority``'s own."""
        invoke(self.cptr, Label.TCB_SET_MC_PRIORITY, authority=authority.cptr, mcp=mcp)

    def set_sched_params(
        self,
        authority: TCB,
        mcp: int,
        priority: int,
        sched_context: SchedContext | None,
        fault_endpoint: Endpoint | None,
    ) -> None:
        """Set priorities, scheduling context and fault endpoint at once. Raises InvalidCapability, RangeError."""
        invoke(
            self.cptr,
            Label.TCB_SET_SCHED_PARAMS,
            authority=authority.cptr,
            mcp=mcp,
            priority=priority,
            sched_context=address(sched_context),
            fault_endpoint=address(fault_endpoint),
        )

    def set_timeout_endpoint(self, timeout_endpoint: Endpoint | None) -> None:
        """Set who is told when the budget runs out. Raises InvalidCapability without Write and a grant right."""
        invoke(self.cptr, Label.TCB_SET_TIMEOUT_ENDPOINT, timeout_endpoint=address(timeout_endpoint))

    def set_ipc_buffer(self, buffer: int, buffer_frame: Frame | None) -> None:
        """Set the trap frame (IPC buffer and rings). Raises AlignmentError, IllegalOperation, RevokeFirst."""
        invoke(self.cptr, Label.TCB_SET_IPC_BUFFER, buffer=buffer, buffer_frame=address(buffer_frame))

    def set_space(
        self,
        fault_endpoint: Endpoint | None,
        cspace_root: CNode,
        cspace_root_data: int,
        vspace_root: VSpace,
        vspace_root_data: int,
    ) -> None:
        """Set fault endpoint, capability space and address space. Raises InvalidCapability, IllegalOperation."""
        invoke(
            self.cptr,
            Label.TCB_SET_SPACE,
            fault_endpoint=address(fault_endpoint),
            cspace_root=cspace_root.cptr,
            cspace_root_data=cspace_root_data,
            vspace_root=vspace_root.cptr,
            vspace_root_data=vspace_root_data,
        )

    def suspend(self) -> None:
        """Stop the thread; what it waits for is cancelled."""
        invoke(self.cptr, Label.TCB_SUSPEND)

    def resume(self) -> None:
        """Let a stopped thread run; a cancelled call starts again."""
        invoke(self.cptr, Label.TCB_RESUME)

    def bind_notification(self, notification: Notification) -> None:
        """Let its signals end this thread's receive. Raises IllegalOperation if either is bound already."""
        invoke(self.cptr, Label.TCB_BIND_NOTIFICATION, notification=notification.cptr)

    def unbind_notification(self) -> None:
        """Undo `bind_notification`. Raises IllegalOperation if none is bound."""
        invoke(self.cptr, Label.TCB_UNBIND_NOTIFICATION)

    def set_tls_base(self, tls_base: int) -> None:
        """Set register fs_base."""
        invoke(self.cptr, Label.TCB_SET_TLS_BASE, tls_base=tls_base)

    def set_flags(self, clear: int, set: int) -> int:
        """Change feature flags (1 = FPU disabled); returns them."""
        return invoke(self.cptr, Label.TCB_SET_FLAGS, clear=clear, set=set)[0]

    def set_name(self, name: str) -> None:
        """Name the thread for people, in at most 32 bytes of UTF-8; the rest is cut (sel4py's own)."""
        data = name.encode()[:THREAD_NAME_BYTES].decode(errors="ignore").encode().ljust(THREAD_NAME_BYTES, b"\0")
        name0, name1, name2, name3 = struct.unpack("<4Q", data)
        invoke(self.cptr, Label.TCB_SET_NAME, name0=name0, name1=name1, name2=name2, name3=name3)

    def explain(self) -> str:
        """Why the thread does not run, to the end of the chain of those that it waits for (sel4py's own)."""
        length, *words = invoke(self.cptr, Label.TCB_EXPLAIN)
        return struct.pack(f"<{len(words)}Q", *words)[:length].decode("utf-8", "replace")
