"""Who holds what, as values for programs: what `sel4py check --live` computes authority from, and `inspect holdings`.

Rules: read only, as `inspection`; addresses are physical, as numbers; an object's identity is text that equals for two
capabilities exactly where they name one object. Slots inside of TCBs are no holdings of a task, which cannot copy from
them: they are told with the thread.
"""

from __future__ import annotations

from hw.ram import Ram
from kerneld import mapping_table
from kerneld.caps import Cap
from kerneld.records import CapType, KernelRecord, Slot, Tcb, TcbSlot, VSpace
from kerneld.survey import survey
from kerneld.task_names import task_name

_WITH_RIGHTS = (CapType.ENDPOINT, CapType.NOTIFICATION, CapType.REPLY, CapType.FRAME)
_BADGED = (CapType.ENDPOINT, CapType.NOTIFICATION)


def identity(cap: Cap) -> str:
    """What a capability names: an address, with the size where regions begin at one address; a line; ports. Untyped
    memory of a device is told from RAM, since less can be made of it."""
    match cap.type:
        case CapType.UNTYPED:
            return f"{'device ' if cap.is_device else ''}0x{cap.object:x}/{cap.size_bits}"
        case CapType.IRQ_HANDLER:
            return str(cap.irq)
        case CapType.IO_PORT:
            return f"0x{cap.first_port:x}-0x{cap.last_port:x}"
        case _:
            return f"0x{cap.object:x}"


def holdings(ram: Ram) -> dict[str, object]:
    """All threads, all capabilities in CNodes, and what is mapped in address spaces."""
    found = survey(ram)
    nodes = found.of_type(CapType.CNODE)
    initial = KernelRecord.of(ram).initial_tcb
    capabilities = [
        _capability(held.cap) | {"place": identity(nodes[owner]), "slot": (held.address - owner) // Slot.SIZE}
        for held in sorted(found.slots.values())
        if (owner := found.owners[held.address]) in nodes and held.kind != CapType.ZOMBIE
    ]
    threads = [
        _thread(Tcb(ram, address)) | {"is_initial": initial is not None and address == initial.address}
        for address in sorted(found.of_type(CapType.TCB))
    ]
    mapped: list[object] = []
    for address in sorted(found.of_type(CapType.VSPACE)):
        space = VSpace(ram, address)
        for mapping in (mapping_table.read(space, node) for node in mapping_table.nodes(space)):
            slot = found.slots.get(mapping.slot)
            if slot is not None:
                row: dict[str, object] = {"vspace": f"0x{address:x}", "frame": identity(slot.cap)}
                mapped.append(row | {"rights": mapping.rights})
    return {"threads": threads, "capabilities": capabilities, "mapped": mapped}


def _capability(cap: Cap) -> dict[str, object]:
    rights = cap.rights if cap.type in _WITH_RIGHTS else 0
    badge = cap.badge if cap.type in _BADGED else 0
    return {"kind": cap.type.name, "object": identity(cap), "rights": rights, "badge": badge}


def _thread(tcb: Tcb) -> dict[str, object]:
    def inside(index: TcbSlot) -> str:
        slot = tcb.slot(index)
        return "" if slot.cap_type == CapType.NULL else identity(Cap(slot.word0, slot.word1))

    bound = tcb.bound_notification
    return {
        "name": task_name(tcb),
        "tcb": f"0x{tcb.address:x}",
        "cnode": inside(TcbSlot.CSPACE),
        "vspace": inside(TcbSlot.VSPACE),
        "handlers": [
            _capability(Cap(slot.word0, slot.word1))
            for slot in map(tcb.slot, (TcbSlot.FAULT_HANDLER, TcbSlot.TIMEOUT_HANDLER))
            if slot.cap_type == CapType.ENDPOINT
        ],
        "notification": "" if bound is None else f"0x{bound.address:x}",
    }
