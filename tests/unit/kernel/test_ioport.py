"""I/O ports: each is given out once, and a capability reaches its own range and nothing else."""

import pytest

from libsel4py import abi
from libsel4py.abi import Error, InitialSlot, Label, LookupFailureKind
from tests.harness import Machine

CNODE = InitialSlot.CNODE
CONTROL = InitialSlot.IO_PORT_CONTROL
DEPTH = abi.WORD_BITS
IN = {1: Label.IO_PORT_IN8, 2: Label.IO_PORT_IN16, 4: Label.IO_PORT_IN32}
OUT = {1: Label.IO_PORT_OUT8, 2: Label.IO_PORT_OUT16, 4: Label.IO_PORT_OUT32}


class Ports:
    """Remembers what was written, and reads back port and width."""

    doorbells = latches = ()

    def __init__(self) -> None:
        self.written: list[tuple[int, int, int]] = []

    def read(self, port: int, width: int) -> int:
        return port << 8 | width

    def write(self, port: int, width: int, value: int) -> None:
        self.written.append((port, width, value))


@pytest.fixture
def ports() -> Ports:
    return Ports()


@pytest.fixture
def machine(ports: Ports) -> Machine:
    return Machine(ports=ports)


def issue(machine: Machine, first: int, last: int) -> int:
    place = machine.new_slots()
    machine.root.call(CONTROL, Label.IO_PORT_CONTROL_ISSUE, (first, last, place, DEPTH), [CNODE])
    return place


def refuse(machine: Machine, *words: int, root: int = CNODE) -> tuple[int, tuple[int, ...]]:
    return machine.root.invoke(CONTROL, Label.IO_PORT_CONTROL_ISSUE, words, [root])


def test_issue_checks_in_order(machine: Machine) -> None:
    assert machine.root.invoke(CONTROL, Label.IO_PORT_IN8)[0] == Error.ILLEGAL_OPERATION
    assert refuse(machine, 1, 0, 0)[0] == Error.TRUNCATED_MESSAGE
    everything = (0x60, 0x5F, CNODE, 0)
    assert machine.root.invoke(CONTROL, Label.IO_PORT_CONTROL_ISSUE, everything)[0] == Error.TRUNCATED_MESSAGE
    assert refuse(machine, 0x10000, 0, CNODE, 0) == (Error.RANGE_ERROR, (0, 0xFFFF))
    assert refuse(machine, 0, 0x10000, CNODE, 0) == (Error.RANGE_ERROR, (0, 0xFFFF))
    assert refuse(machine, *everything) == (Error.INVALID_ARGUMENT, (1,))
    issue(machine, 0x60, 0x64)
    assert refuse(machine, 0x64, 0x70, CNODE, 0)[0] == Error.REVOKE_FIRST
    assert refuse(machine, 0x65, 0x70, CNODE, 0) == (Error.RANGE_ERROR, (1, 64))
    assert refuse(machine, 0x65, 0x70, CNODE, DEPTH, root=InitialSlot.TCB) == (
        Error.FAILED_LOOKUP,
        (0, LookupFailureKind.INVALID_ROOT),
    )
    assert refuse(machine, 0x65, 0x70, CNODE, DEPTH)[0] == Error.DELETE_FIRST
    issue(machine, 0x65, 0x70)


@pytest.mark.parametrize(
    ("first", "last"), [(0, 0), (63, 64), (0, 127), (60, 200), (64, 127), (0xFFFF, 0xFFFF), (0, 0xFFFF)]
)
def test_ranges_across_words_are_taken_and_given_back(machine: Machine, first: int, last: int) -> None:
    made = issue(machine, first, last)
    for port in {first, last, (first + last) // 2}:
        assert refuse(machine, port, port, machine.next_slot, DEPTH)[0] == Error.REVOKE_FIRST
    for port in (first - 1, last + 1):
        if 0 <= port < abi.IO_PORTS:
            machine.delete(issue(machine, port, port))
    copy = machine.copy(made)
    machine.delete(made)
    assert refuse(machine, first, first, machine.next_slot, DEPTH)[0] == Error.REVOKE_FIRST
    machine.delete(copy)
    issue(machine, first, last)


def test_revoking_control_gives_all_back(machine: Machine) -> None:
    made = [issue(machine, port, port + 3) for port in range(0, 64, 4)]
    machine.revoke(CONTROL)
    assert not any(machine.slot(slot).word0 for slot in made)
    issue(machine, 0, 0xFFFF)


@pytest.mark.parametrize("width", [1, 2, 4])
def test_reading_and_writing(machine: Machine, ports: Ports, width: int) -> None:
    made = issue(machine, 0x60, 0x67)
    assert machine.root.call(made, IN[width], (0x62,)) == (0x62 << 8 | width,)
    machine.root.call(made, OUT[width], (0x63, 0x1122334455667788))
    assert ports.written == [(0x63, width, 0x1122334455667788 & (1 << 8 * width) - 1)]


@pytest.mark.parametrize("width", [1, 2, 4])
@pytest.mark.parametrize("table", [IN, OUT], ids=["in", "out"])
def test_every_byte_must_be_inside(machine: Machine, ports: Ports, width: int, table: dict[int, Label]) -> None:
    made = issue(machine, 0x60, 0x67)
    for port in (0x5F, 0x68 - width + 1, 0x10060, (1 << 64) - 1):
        assert machine.root.invoke(made, table[width], (port, 0))[0] == Error.ILLEGAL_OPERATION, hex(port)
    for port in (0x60, 0x68 - width):
        assert machine.root.invoke(made, table[width], (port, 0))[0] == Error.NO_ERROR, hex(port)


def test_short_messages_and_labels(machine: Machine) -> None:
    made = issue(machine, 0x60, 0x67)
    for width in (1, 2, 4):
        assert machine.root.invoke(made, IN[width])[0] == Error.TRUNCATED_MESSAGE
        assert machine.root.invoke(made, OUT[width], (0x60,))[0] == Error.TRUNCATED_MESSAGE
    assert machine.root.invoke(made, Label.IO_PORT_CONTROL_ISSUE)[0] == Error.ILLEGAL_OPERATION


def test_a_machine_without_devices_reads_all_ones() -> None:
    machine = Machine()
    made = issue(machine, 0x60, 0x67)
    assert machine.root.call(made, Label.IO_PORT_IN16, (0x60,)) == (0xFFFF,)
    machine.root.call(made, Label.IO_PORT_OUT16, (0x60, 1))
