"""Typed capabilities: one class an object, its methods those of the manual in snake_case.

Rules: argument names are the ABI table's (`libsel4py.abi.INVOCATIONS`; a test compares them). Where the manual
names a slot by index and depth, the depth is a keyword with a task's own 64 bits as default.
"""

from libsel4py.capabilities.base import CSPACE_DEPTH, Capability
from libsel4py.capabilities.channel import Channel
from libsel4py.capabilities.cnode import CNode
from libsel4py.capabilities.death_notice import Death, DeathNotice
from libsel4py.capabilities.domain import Domain
from libsel4py.capabilities.endpoint import Endpoint, Notification, Reply, signal_many
from libsel4py.capabilities.frame import Frame, VSpace
from libsel4py.capabilities.io_port import IOPort, IOPortControl
from libsel4py.capabilities.io_space import IOSpace, IOSpaceControl
from libsel4py.capabilities.irq import IRQControl, IRQHandler
from libsel4py.capabilities.sched_context import SchedContext, SchedControl
from libsel4py.capabilities.tcb import TCB
from libsel4py.capabilities.untyped import Untyped
from libsel4py.capabilities.unwrapped import Unwrapped

__all__ = [
    "CSPACE_DEPTH",
    "TCB",
    "CNode",
    "Capability",
    "Channel",
    "Death",
    "DeathNotice",
    "Domain",
    "Endpoint",
    "Frame",
    "IOPort",
    "IOPortControl",
    "IOSpace",
    "IOSpaceControl",
    "IRQControl",
    "IRQHandler",
    "Notification",
    "Reply",
    "SchedContext",
    "SchedControl",
    "Untyped",
    "Unwrapped",
    "VSpace",
    "signal_many",
]
