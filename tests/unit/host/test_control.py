"""The kernel's end of a control socket: what its messages look like."""

from __future__ import annotations

import asyncio
import socket

from kerneld.host.control import MESSAGE, ControlSocket
from libsel4py import abi
from libsel4py.abi import ControlOp


def test_the_ends_of_channels_travel_two_to_a_word() -> None:
    ours, keeper = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    loop = asyncio.new_event_loop()
    control = ControlSocket(ours, loop, lambda what: None)
    numbers = [2**32 - 1 - number for number in range(abi.CONTROL_CLOSED_TOGETHER)]
    read = []
    with ours, keeper:
        for count in (1, 3, len(numbers)):
            control.channel_close(5, numbers[:count], lambda error, word: None)
            op, _, thread, _, *words = MESSAGE.unpack(keeper.recv(abi.CONTROL_BYTES))
            assert (op, thread) == (ControlOp.CHANNEL_CLOSE, 5)
            read.append([half for word in words for half in (word & 2**32 - 1, word >> 32) if half])
        control.close()
    loop.close()
    assert read == [numbers[:1], numbers[:3], numbers]
