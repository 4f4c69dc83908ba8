"""A device's interrupt is lost: its driver looks at the device by itself a moment later, and goes on."""

from __future__ import annotations

import pytest

from deploy.management import Management, Refused
from tests.system.supervisor import PROMPT, Supervisor

LOST = 3  # one after the other


def lose(management: Management, device: str) -> bool:
    """Lose the device's next interrupt; False while it has yet to meet the last one."""
    try:
        management.request("inject", fault="drop-irq", device=device, count=1)
    except Refused:
        return False
    return True


@pytest.mark.slow
@pytest.mark.parametrize(
    ("device", "command", "answer"),
    [
        ("uart0", b"call pong ping 7", b"\n7\r"),
        ("disk0", b"write /first here and there", b"\r\n"),
        ("net0", b"ping 10.0.2.2", b"answer 3 in"),
        ("clock1", b"ping 10.0.2.99 1 1", b"no answer within 1 s"),  # without a tick it would wait for ever
    ],
)
def test_a_lost_interrupt_delays_and_nothing_else(
    sel4py: Supervisor, device: str, command: bytes, answer: bytes
) -> None:
    terminal = sel4py.terminal("up", "workstation")
    terminal.until(PROMPT)
    if b"ping" in command and device != "uart0":  # there may be no address yet
        terminal.type(b"ping 10.0.2.2\r")
        while b"answer 3 in" not in terminal.until(PROMPT):
            terminal.type(b"ping 10.0.2.2\r")
    with Management(sel4py.folder / "workstation") as management:
        lost = 0
        while (lost := lost + lose(management, device)) <= LOST:  # the last one is not waited for
            terminal.type(command + b"\r")
            terminal.until(answer)
            terminal.until(PROMPT)
    for row in sel4py.rows("ps"):
        assert not row["restarts"], row
    terminal.type(b"exit 6\r")
    assert terminal.wait() == 6
