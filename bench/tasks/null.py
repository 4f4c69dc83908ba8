"""A server that answers each call with the words that came, by the raw system calls, and takes channels."""

from libsel4py.capabilities import Endpoint
from libsel4py.environment import Slot
from libsel4py.interfaces.parent import Parent
from libsel4py.lowlevel.syscalls import listen, machine


def main(*_: int) -> None:
    """Echo for ever."""
    environment = Parent(Endpoint(Slot.PARENT)).environment()
    endpoint = environment.provides["echo"].cptr
    listen(endpoint)
    reply_recv, reply = machine.reply_recv, int(Slot.REPLY)
    _status, _badge, info, m0, m1, m2, m3 = machine.recv(endpoint, reply)
    while True:
        _status, _badge, info, m0, m1, m2, m3 = reply_recv(endpoint, info, m0, m1, m2, m3, reply)
