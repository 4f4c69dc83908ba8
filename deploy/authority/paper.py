"""A system on paper: what root's own builder hands out for a description, with nothing booted.

The builder runs as it stands (`servers.root.builder`), and its invocations are written down instead of made. So a
description's authority cannot drift from what root does; a test compares it with what the kernel's RAM says after the
same. Rule: an invocation that the page does not know ends the computation, it is never passed over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from deploy.authority.holdings import DEVICE, Capability, Held, Holdings, Thread
from libsel4py import abi
from libsel4py.abi import InitialSlot, Label, ObjectType, Rights
from libsel4py.capabilities import (
    TCB,
    CNode,
    Domain,
    Endpoint,
    IOPortControl,
    IOSpaceControl,
    IRQControl,
    SchedControl,
    Untyped,
)
from libsel4py.description import System
from libsel4py.environment import CNODE_DEPTH
from libsel4py.lowlevel.cspace import SlotAllocator
from libsel4py.lowlevel.invoke import Prepared, per_thread
from libsel4py.lowlevel.syscalls import BatchEntry, Completion, installed
from servers.root.authority import Authority
from servers.root.builder import Builder

ROOT: Final = "root"
_FIRST_FREE: Final = 1 << 12
_NEW_RIGHTS: Final = {
    "ENDPOINT": int(Rights.ALL),
    "NOTIFICATION": int(Rights.READ | Rights.WRITE),
    "REPLY": int(Rights.ALL),
    "FRAME": int(Rights.READ | Rights.WRITE),
}
# What changes no one's authority: times, names, priorities.
_SILENT: Final = (
    Label.SCHED_CONTROL_CONFIGURE_FLAGS,
    Label.IO_SPACE_CONTROL_ASSIGN,
    Label.IRQ_HANDLER_SET_NOTIFICATION,
)
_PACKED_NAME: Final = 4  # words


@dataclass
class _Thread:
    name: str = ""
    cnode: str = ""
    vspace: str = ""
    handlers: tuple[Capability, ...] = ()
    notification: str = ""


@dataclass
class _Memory:
    """Makes objects without memory: there is nothing that could run out."""

    paper: Paper

    def allocate(self, object_type: ObjectType, size_bits: int = 0, count: int = 1) -> range:
        return self.paper.make(object_type, size_bits, count)


@dataclass
class Paper:
    """CNodes as they are written: by the CNode's identity and the slot."""

    slots: dict[str, dict[int, Capability]] = field(default_factory=dict)
    threads: dict[str, _Thread] = field(default_factory=dict)
    made: int = 0

    def __post_init__(self) -> None:
        kinds = {
            InitialSlot.TCB: "TCB",
            InitialSlot.CNODE: "CNODE",
            InitialSlot.VSPACE: "VSPACE",
            InitialSlot.IRQ_CONTROL: "IRQ_CONTROL",
            InitialSlot.IO_PORT_CONTROL: "IO_PORT_CONTROL",
            InitialSlot.IO_SPACE: "IO_SPACE_CONTROL",
            InitialSlot.DOMAIN: "DOMAIN",
            InitialSlot.SCHED_CONTEXT: "SCHED_CONTEXT",
            InitialSlot.FIRST_FREE: "SCHED_CONTROL",
        }
        for slot, kind in kinds.items():
            self.root[slot] = Capability(kind, ROOT)
        self.threads[ROOT] = _Thread(ROOT, ROOT, ROOT)

    @property
    def root(self) -> dict[int, Capability]:
        return self.slots.setdefault(ROOT, {})

    def make(self, object_type: ObjectType, size_bits: int, count: int, of: str = "") -> range:
        """New objects, in the next slots of root's CNode. ``of``: what untyped memory's names begin with."""
        first = _FIRST_FREE + self.made
        kind = object_type.name
        for slot in range(first, first + count):
            self.made += 1
            name = f"{of}{self.made}/{size_bits}" if kind == "UNTYPED" else str(self.made)
            self.root[slot] = Capability(kind, name, _NEW_RIGHTS.get(kind, 0))
            if kind == "TCB":
                self.threads[name] = _Thread()
        return range(first, first + count)

    # --- invocations

    def invoke(self, prepared: Prepared) -> tuple[int, ...]:
        """Write an invocation down. Raises NotImplementedError for one that this page does not know."""
        label = Label(prepared.row.label)
        words = dict(zip(prepared.row.words, prepared.words, strict=False))
        caps = dict(zip(prepared.row.caps, prepared.caps, strict=False))
        target = self.root[prepared.cptr]
        match label:
            case Label.CNODE_COPY | Label.CNODE_MINT:
                source = self.root[words["src_index"]]
                self._put(target, words["dest_index"], self._derived(source, words["rights"], words.get("badge", 0)))
            case Label.CNODE_MOVE:
                self._put(target, words["dest_index"], self.root.pop(words["src_index"]))
            case Label.CNODE_DELETE:
                self.slots[target.object].pop(words["index"], None)
            case Label.IRQ_CONTROL_GET:
                self._put(self.root[caps["root"]], words["index"], Capability("IRQ_HANDLER", str(words["irq"])))
            case Label.IO_PORT_CONTROL_ISSUE:
                ports = f"0x{words['first_port']:x}-0x{words['last_port']:x}"
                self._put(self.root[caps["root"]], words["index"], Capability("IO_PORT", ports))
            case Label.TCB_CONFIGURE:
                thread = self.threads[target.object]
                thread.cnode = self.root[caps["cspace_root"]].object
                thread.vspace = self.root[caps["vspace_root"]].object
            case Label.TCB_SET_SCHED_PARAMS:
                self.threads[target.object].handlers = (self.root[caps["fault_endpoint"]],)
            case Label.TCB_BIND_NOTIFICATION:
                self.threads[target.object].notification = self.root[caps["notification"]].object
            case Label.TCB_SET_NAME:
                packed = b"".join(word.to_bytes(8, "little") for word in prepared.words[:_PACKED_NAME])
                self.threads[target.object].name = packed.rstrip(b"\0").decode("utf-8")
            case _ if label not in _SILENT:
                raise NotImplementedError(f"root makes the invocation {label.name}, which the authority analysis lacks")
        return (0,) * len(prepared.row.results)

    def _put(self, node: Capability, index: int, capability: Capability) -> None:
        self.slots.setdefault(node.object, {})[index] = capability

    def _derived(self, source: Capability, rights: int, badge: int) -> Capability:
        badged = source.kind in ("ENDPOINT", "NOTIFICATION")
        new_badge = badge if badge and badged else source.badge
        return Capability(source.kind, source.object, source.rights & rights, new_badge)

    # --- what root is given in the place of a machine

    def batch(self, entries: Sequence[BatchEntry], /) -> list[Completion]:
        """Many invocations; each is answered as done."""
        for _, cptr, info, words, caps, *_ in entries:
            self.invoke(Prepared(cptr, abi.INVOCATIONS[Label(abi.info_label(info))], info, words, caps))
        return [(0, 0, abi.message_info(0, 0, 0), 0, 0, 0, 0)] * len(entries)

    def __getattr__(self, name: str) -> Callable[..., object]:
        if name.startswith("__"):
            raise AttributeError(name)

        def refuse(*_: object) -> object:
            raise NotImplementedError(f"root uses the machine's {name}, which the authority analysis lacks")

        return refuse

    def holdings(self) -> Holdings:
        """All that was written."""
        threads = tuple(
            Thread(each.name, tcb, each.cnode, each.vspace, each.handlers, each.notification, tcb == ROOT)
            for tcb, each in self.threads.items()
        )
        held = tuple(
            Held(cap.kind, cap.object, cap.rights, cap.badge, place, slot)
            for place, slots in self.slots.items()
            for slot, cap in sorted(slots.items())
        )
        return Holdings(threads, held, ())


@contextmanager
def _writing(paper: Paper) -> Iterator[None]:
    former, per_thread.recorder = per_thread.recorder, paper.invoke
    try:
        with installed(paper):  # type: ignore[arg-type]  # all that it lacks, it refuses
            yield
    finally:
        per_thread.recorder = former


def holdings(system: System) -> Holdings:
    """What the tasks of a checked description hold before the first of them runs.

    Raises:
        NotImplementedError: root does what this page does not know.
    """
    paper = Paper()
    with _writing(paper):
        authority = _authority(paper, system)
        Builder(authority, system, Endpoint(paper.make(ObjectType.ENDPOINT, 0, 1).start)).build()
    return paper.holdings()


def _authority(paper: Paper, system: System) -> Authority:
    sizes = [device.memory.bit_length() - 1 for device in system.devices if device.memory]
    memory = tuple(Untyped(paper.make(ObjectType.UNTYPED, bits, 1, DEVICE).start) for bits in sizes)
    return Authority(
        CNode(InitialSlot.CNODE),
        TCB(InitialSlot.TCB),
        IRQControl(InitialSlot.IRQ_CONTROL),
        IOPortControl(InitialSlot.IO_PORT_CONTROL),
        IOSpaceControl(InitialSlot.IO_SPACE),
        Domain(InitialSlot.DOMAIN),
        SchedControl(InitialSlot.FIRST_FREE),
        SlotAllocator(1 << 20, 1 << 16),
        _Memory(paper),  # type: ignore[arg-type]  # the part of an allocator that a builder uses
        {},
        {},
        device_memory=memory,
    )


assert CNODE_DEPTH == abi.WORD_BITS, "indices are taken as whole addresses"
