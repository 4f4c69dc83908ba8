"""A server for messages of any length: reads each out whole, as bytes, and writes it back."""

from libsel4py.abi import MESSAGE_REGISTERS, info_length
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
        more = info_length(info) - MESSAGE_REGISTERS
        if more > 0:
            machine.message_write(MESSAGE_REGISTERS, machine.message_read(MESSAGE_REGISTERS, more))
        _status, _badge, info, m0, m1, m2, m3 = reply_recv(endpoint, info, m0, m1, m2, m3, reply)
