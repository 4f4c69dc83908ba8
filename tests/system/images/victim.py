"""An initial task whose children attack the kernel, as its description says; ends with 0 if the system held.

The children run boot image 1, `attacker`.
"""

from __future__ import annotations

import ctypes

from libsel4py import abi
from libsel4py.abi import ObjectType
from libsel4py.capabilities import CNode, Notification
from libsel4py.lowlevel import bootinfo
from tests.system.images import attacker
from tests.system.images.family import Parent

BADGE = 0x5A5A5A5A
CNODE_BITS = abi.TRAP_FRAME_BITS - 5
WATCHING_SLOT = abi.KERNEL_WATCHING // 32  # the slot whose badge lies where the kernel says that it watches a ring
CHILDREN = 100
NODES = 16  # one of them lies where the frame was


def destroyed_frame(parent: Parent) -> None:
    """A child's trap frame becomes a CNode while the child goes on to ring: no badge in there changes."""
    notification = parent.make(ObjectType.NOTIFICATION)
    child = parent.child()
    child.start(attacker.RING, notification)
    Notification(notification).wait()
    parent.memory.free(child.frame.cptr)
    nodes = [CNode(parent.make(ObjectType.CNODE, CNODE_BITS)) for _ in range(NODES)]
    for node in nodes:
        node.mint(WATCHING_SLOT, parent.cnode, notification, BADGE, dest_depth=CNODE_BITS)
    parent.child().start(attacker.RETURN)
    parent.wait_death()
    for node in nodes:
        badged = parent.slots.allocate()
        parent.cnode.copy(badged, node, WATCHING_SLOT, src_depth=CNODE_BITS)
        Notification(badged).signal()
        assert Notification(notification).poll() == BADGE


def exited(parent: Parent) -> None:
    """A child says that it has exited, rings on, and its TCB is destroyed: its process ends."""
    child = parent.child()
    child.start(attacker.EXIT_AND_RING, 7)
    assert parent.wait_death() == (1, 7 << 8)
    parent.memory.free(child.tcb.cptr)
    witness = parent.child()
    witness.tcb.set_name("witness")
    witness.start(attacker.WAIT)
    parent.wait_death()


def descriptors(parent: Parent) -> None:
    """More children than the host has descriptors for: those that cannot start are told of, the others live."""
    children = [parent.child() for _ in range(CHILDREN)]
    for child in children:
        child.start(attacker.WAIT)
    refused = parent.wait_death()
    assert refused[1] == 126 << 8, refused
    last = children[0]
    parent.free(last)
    parent.child().start(attacker.RETURN, 3)
    deaths = {parent.wait_death()[1] for _ in range(3)}
    assert deaths <= {126 << 8, 3 << 8}, deaths


def main(boot_info_address: int, *_: int) -> None:
    info = bootinfo.parse(ctypes.string_at(boot_info_address, 1 << abi.BOOT_INFO_FRAME_BITS))
    scenes = {scene.__name__: scene for scene in (destroyed_frame, exited, descriptors)}
    scenes[info.system_description.decode()](Parent(info))
