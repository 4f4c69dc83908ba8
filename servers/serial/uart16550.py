"""How to drive a 16550A: register numbers, bits, and what to ask of the ports. No state of its own.

Source: National Semiconductor PC16550D data sheet, table II. Offsets are in bytes from the first port.
"""

from typing import Final

RECEIVE = TRANSMIT = 0  # RBR when read, THR when written
INTERRUPT_ENABLE: Final = 1
FIFO_CONTROL: Final = 2
LINE_CONTROL: Final = 3
MODEM_CONTROL: Final = 4
LINE_STATUS: Final = 5
MODEM_STATUS: Final = 6

ENABLE_RECEIVE: Final = 0x01
ENABLE_TRANSMIT_EMPTY: Final = 0x02
ENABLE_MODEM: Final = 0x08
FIFO_ENABLE_64: Final = 0x21  # FIFOs on, 64 bytes deep (16750)
EIGHT_BITS: Final = 0x03
DATA_READY_AND_INTERRUPTS: Final = 0x0B  # DTR, RTS, OUT2: interrupts reach the line
REQUEST_TO_SEND: Final = 0x02  # while it is low, the other end holds its bytes back
LINE_DATA_READY: Final = 0x01
LINE_OVERRUN: Final = 0x02  # a byte came when the FIFO was full, and is lost
LINE_TRANSMIT_EMPTY: Final = 0x20
MODEM_CARRIER: Final = 0x80  # the other end is there; its loss is the end of the input

FIFO_BYTES: Final = 64
