"""Channels for tasks that make raw system calls. What the SDK does unasked, these do by hand."""

from __future__ import annotations

from libsel4py import abi
from libsel4py.abi import ObjectType, Syscall
from libsel4py.capabilities import Capability
from libsel4py.lowlevel.syscalls import FOREVER_NS, machine
from libsel4py.task import Task

try:
    from libsel4py import Channel
except ImportError:  # this build has none: every call goes through the kernel
    Channel = None


def listen(target: int) -> None:
    """Take channels of an endpoint or notification from now on (0: of none). Raises RuntimeError if the kernel refuses."""
    if Channel is None:
        return
    info = machine.trap(Syscall.LISTEN, target, 0, 0, 0, 0, 0, 0, 0, FOREVER_NS)[2]
    if abi.info_label(info):
        raise RuntimeError(f"the kernel refuses to listen on {target}: {abi.Error(abi.info_label(info)).name}")
    machine.channel_listen(target)


def connect(task: Task, target: Capability) -> int:
    """A channel to an endpoint or notification: this thread's calls and signals there go by it from now on.

    Returns its address; 0 if this build has no channels.
    """
    if Channel is None:
        return 0
    channel = Channel(task.memory.allocate(ObjectType.CHANNEL).start)
    machine.channel_bind(target.cptr, channel.connect(target))
    return channel.cptr


def disconnect(task: Task, target: Capability, channel: int) -> None:
    """Go by the kernel again, and give the channel's memory back."""
    if channel:
        machine.channel_unbind(target.cptr)
        task.memory.free(channel)
