"""Where the fast path (`_fastpath/`) finds the fields of records: one table, made from `records.py`.

The fast path carries out Call, ReplyRecv, signals, page faults, Map, Revoke, writes to doorbells and what takes an
interrupt in their commonest form, with the slow path's exact effect on RAM; all else it leaves alone. What it takes on,
and why it may: `docs/manual/fastpath.md`.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

from hw.devices.device import Doorbell, Latch
from kerneld import _fastpath, interrupts
from kerneld.outbox import Tell
from kerneld.records import (
    ADDRESS_MASK,
    CHANNEL_MASK,
    IRQ_MASKED,
    MAPPING_TABLE_MIN_BYTES,
    MAPPING_TABLE_SHARE,
    NODE_MASK,
    CapType,
    Channel,
    Endpoint,
    EndpointState,
    IrqState,
    KernelRecord,
    MappingNode,
    MappingSpace,
    Notification,
    NotificationState,
    ProcessState,
    Reply,
    SchedContext,
    Slot,
    Tcb,
    TcbSlot,
    ThreadState,
    VSpace,
)
from libsel4py.abi import Label

NO_STATE: Final = (1 << 64) - 1
_DOORBELL: Final = struct.Struct("<6Q")
_LATCH: Final = struct.Struct("<4Q")


def make_layout(kernel: KernelRecord, doorbells: Sequence[Doorbell] = (), latches: Sequence[Latch] = ()) -> bytes:
    """The table for a machine whose kernel record lies there, and which has these doorbells and latches.

    On virtual cores each system call may change who runs next, which is not for the fast path to say: there no thread's
    state is the one that it asks for, so that it serves none.
    """
    values = _values()
    if kernel.cores:
        values["state_running"] = NO_STATE
    values["doorbells"] = len(doorbells)
    values["latches"] = len(latches)
    values["irq_states"] = kernel.address + KernelRecord.IRQ_STATES
    values["irq_slots"] = kernel.address + KernelRecord.IRQ_SLOTS
    rows = b"".join([*(_DOORBELL.pack(*row) for row in doorbells), *(_LATCH.pack(*row) for row in latches)])
    return _fastpath.layout(_tcb() | _objects() | values | _outbox(kernel)) + rows


def _tcb() -> dict[str, int]:
    return {
        "tcb_state": Tcb.state.offset,
        "tcb_process": Tcb.process.offset,
        "tcb_sched_context": Tcb.sched_context.offset,
        "tcb_bound_notification": Tcb.bound_notification.offset,
        "tcb_reply": Tcb.reply.offset,
        "tcb_blocked_on": Tcb.blocked_on.offset,
        "tcb_queue_prev": Tcb.queue_prev.offset,
        "tcb_queue_next": Tcb.queue_next.offset,
        "tcb_run_last": Tcb.run_last.offset,
        "tcb_run_first": Tcb.run_first.offset,
        "tcb_block_word": Tcb.block_word.offset,
        "tcb_listener": Tcb.listener.offset,
        "tcb_fault_label": Tcb.fault_label.offset,
        "tcb_fault_words": Tcb.FAULT_WORDS,
        "tcb_trap": Tcb.TRAP,
        "tcb_tail": Tcb.TAIL,
        "tcb_consumed": Tcb.consumed.offset,
        "tcb_produced": Tcb.produced.offset,
        "tcb_told": Tcb.TOLD,
        "tcb_told_area": Tcb.told_area.offset,
        "tcb_cspace": TcbSlot.CSPACE * Slot.SIZE,
        "tcb_buffer": TcbSlot.BUFFER * Slot.SIZE,
        "tcb_vspace": TcbSlot.VSPACE * Slot.SIZE,
        "tcb_fault_handler": TcbSlot.FAULT_HANDLER * Slot.SIZE,
        "in_trap": Tcb.in_trap.mask << Tcb.in_trap.shift,
        "told_pending": Tcb.told_pending.mask << Tcb.told_pending.shift,
        "tcb_size": Tcb.SIZE,
        "tcb_listen": TcbSlot.LISTEN * Slot.SIZE,
        "tcb_channels": Tcb.channels.offset,
        "takes_memory": Tcb.takes_memory.mask << Tcb.takes_memory.shift,
    }


def _objects() -> dict[str, int]:
    return {
        "endpoint_head": Endpoint.head.offset,
        "endpoint_tail": Endpoint.tail.offset,
        "endpoint_channels": Endpoint.channels.offset,
        "channel_client": Channel.client.offset,
        "channel_client_prev": Channel.client_prev.offset,
        "channel_client_next": Channel.client_next.offset,
        "channel_target_prev": Channel.target_prev.offset,
        "channel_target_next": Channel.target_next.offset,
        "channel_mask": CHANNEL_MASK,
        "slot_prev": Slot.prev.offset,
        "slot_mdb": Slot.mdb_word.offset,
        "slot_mask": ADDRESS_MASK,
        "slot_revocable": Slot.revocable.mask << Slot.revocable.shift,
        "slot_first_badged": Slot.first_badged.mask << Slot.first_badged.shift,
        "slot_watched": Slot.watched.mask << Slot.watched.shift,
        "slot_bound": Slot.bound.mask << Slot.bound.shift,
        "notification_state": Notification.state.offset,
        "notification_signals": Notification.signals.offset,
        "notification_bound_tcb": Notification.bound_tcb.offset,
        "notification_listeners": Notification.listeners.offset,
        "notification_sched_context": Notification.sched_context.offset,
        "reply_tcb": Reply.tcb.offset,
        "reply_prev": Reply.prev.offset,
        "reply_next_word": Reply.next_word.offset,
        "context_refill_max": SchedContext.refill_max.offset,
        "context_period": SchedContext.period.offset,
        "space_root": MappingSpace.root.offset,
        "space_size_bits": MappingSpace.size_bits.offset,
        "space_limited": VSpace.limited.offset,
        "space_count": MappingSpace.mapping_count.offset,
        "space_free_nodes": MappingSpace.free_nodes.offset,
        "space_nodes_used": MappingSpace.nodes_used.offset,
        "space_nodes": MappingSpace.NODES,
        "table_share": MAPPING_TABLE_SHARE,
        "table_min_bytes": MAPPING_TABLE_MIN_BYTES,
        "node_slot": MappingNode.slot.offset,
        "node_lower": MappingNode.lower.offset,
        "node_higher": MappingNode.higher.offset,
        "node_mask": NODE_MASK,
    }


def _values() -> dict[str, int]:
    return {
        "cap_endpoint": CapType.ENDPOINT,
        "cap_notification": CapType.NOTIFICATION,
        "cap_reply": CapType.REPLY,
        "cap_cnode": CapType.CNODE,
        "cap_frame": CapType.FRAME,
        "cap_vspace": CapType.VSPACE,
        "cap_io_port": CapType.IO_PORT,
        "cap_irq_handler": CapType.IRQ_HANDLER,
        "irq_signal": IrqState.SIGNAL,
        "irq_masked": IRQ_MASKED,
        "irq_pending": interrupts.IRQ_PENDING,
        "state_running": ThreadState.RUNNING,
        "state_receive": ThreadState.BLOCKED_ON_RECEIVE,
        "state_reply": ThreadState.BLOCKED_ON_REPLY,
        "process_live": ProcessState.LIVE,
        "endpoint_receive": EndpointState.RECEIVE,
        "notification_idle": NotificationState.IDLE,
        "notification_active": NotificationState.ACTIVE,
    }


def _outbox(kernel: KernelRecord) -> dict[str, int]:
    return {
        "outbox_length": kernel.address + KernelRecord.outbox_length.offset,
        "outbox_entries": kernel.address + KernelRecord.OUTBOX,
        "outbox_deliver": Tell.DELIVER,
        "outbox_map": Tell.MAP,
        "outbox_channel_gone": Tell.CHANNEL_GONE,
        "outbox_hint": Tell.HINT,
        "outbox_device": Tell.DEVICE,
        "label_frame_map": Label.FRAME_MAP,
        "label_cnode_revoke": Label.CNODE_REVOKE,
        "label_io_port_in32": Label.IO_PORT_IN32,
        "label_io_port_out32": Label.IO_PORT_OUT32,
        "label_irq_handler_ack": Label.IRQ_HANDLER_ACK,
    }
