"""Channels for tasks that make raw system calls. What the SDK does unasked, these do by hand."""

from __future__ import annotations

from libsel4py.abi import ObjectType
from libsel4py.capabilities import Channel, Endpoint, Notification
from libsel4py.lowlevel.machine import machine
from libsel4py.task import Task


def connect(task: Task, target: Endpoint | Notification) -> Channel:
    """A channel from the task's pool: this thread's calls (or signals) there go by it from now on."""
    channel = Channel(task.memory.allocate(ObjectType.CHANNEL).start)
    target.connect(channel)
    return channel


def disconnect(task: Task, target: Endpoint | Notification, channel: Channel) -> None:
    """Go by the kernel again, and give the channel's memory back."""
    machine.channel_unbind(target.cptr)
    task.memory.free(channel.cptr)
