"""A network interface in a booted system: description, helper process, device, and a driver."""

from __future__ import annotations

import os
import signal
import socket
from contextlib import ExitStack
from pathlib import Path

from hw.devices.network_switch import HANDS_OVER
from tests.system.supervisor import ROOT, Supervisor

DESCRIPTION = f"""
[system]
name = "%s"
paths = ["{ROOT}"]

[machine.devices.uart0]
type = "uart"
port = 0x3F8
irq = 4

[machine.devices.net0]
type = "virtio-net"
port = 0x1000
irq = 5
%s

[task.echo]
image = "tests.system.images.frame_echo"
essential = true
devices = {{ net = {{ device = "net0", io_space = "4K" }}, uart = "uart0" }}
"""


def helper_of(monitor: int) -> int:
    """The process that is the network's other end."""
    for child in Path(f"/proc/{monitor}/task/{monitor}/children").read_text().split():
        if b"hw.devices.user_network" in Path(f"/proc/{child}/cmdline").read_bytes():
            return int(child)
    raise AssertionError("no such process")


class Member:
    """A third one on a switch, by hand."""

    def __init__(self, path: Path) -> None:
        self._end, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._end.settimeout(20)
        self.heard: list[bytes] = []
        self._control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.connect(str(path))
        with theirs:
            socket.send_fds(self._control, [HANDS_OVER], [theirs.fileno()])

    def __enter__(self) -> Member:
        return self

    def __exit__(self, *_: object) -> None:
        self._control.close()
        self._end.close()

    def echoed(self, data: bytes, by: int) -> set[bytes]:
        """Send a datagram to all; the addresses of so many that send it back."""
        header = bytes.fromhex("45000000000000004011") + bytes(2) + bytes((10, 0, 0, 1)) + b"\xff" * 4
        body = header + bytes.fromhex("00070009") + (8 + len(data)).to_bytes(2, "big") + bytes(2) + data
        self._end.send(b"\xff" * 6 + bytes.fromhex("525400ffffff") + b"\x08\0" + body)
        senders: set[bytes] = set()
        while len(senders) < by:
            frame = self._end.recv(2000)
            assert frame, "the switch has hung up"
            self.heard.append(frame)
            if frame.endswith(data):
                senders.add(frame[6:12])
        return senders


def exchange(client: socket.socket, data: bytes) -> bytes:
    client.send(data)
    return client.recv(2000)


def test_datagrams_by_a_forwarded_port(sel4py: Supervisor, tmp_path: Path) -> None:
    description = tmp_path / "net.toml"
    keys = 'backend = "user"\nmac = "52:54:00:00:00:07"\nforward = ["udp:127.0.0.1:%d-9"]'
    description.write_text(DESCRIPTION % ("net", keys % 0))
    terminal = sel4py.terminal("up", description)
    terminal.until(b"mac 52:54:00:00:00:07")
    port = sel4py.forwarded_port()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(20)
        client.connect(("127.0.0.1", port))
        for size in (1, 500, 1472):
            assert exchange(client, b"x" * size) == b"x" * size
        terminal.until(b"echoed 3")
        row = next(each for each in sel4py.rows("inspect", "devices") if each["name"] == "net0")
        state = row["state"]
        assert isinstance(state, dict)
        assert state["forwards"] == [f"udp:127.0.0.1:{port}-9"]
        assert (state["link"], state["received"], state["sent"]) == ("up", 3, 3)
        helper = helper_of(terminal.process.pid)
        os.kill(helper, signal.SIGKILL)
        terminal.until(b"is started again")
        assert exchange(client, b"after") == b"after"
        second = tmp_path / "second.toml"
        second.write_text(DESCRIPTION % ("second", keys % port))
        refused = sel4py.run("up", second)
        assert refused.status != 0
        assert f"device net0: the host does not listen at udp 127.0.0.1:{port}: Address already in use" in refused.error
    sel4py.ok("down")
    assert terminal.wait() == 0


def test_a_tap_that_the_host_does_not_give(sel4py: Supervisor, tmp_path: Path) -> None:
    description = tmp_path / "tap.toml"
    description.write_text(DESCRIPTION % ("tap", 'backend = "tap"\ninterface = "lo"'))
    refused = sel4py.run("up", description)
    assert refused.status != 0
    assert "device net0: " in refused.error
    assert "backend 'user' needs no right of the host" in refused.error


def test_two_systems_on_a_switch(sel4py: Supervisor, tmp_path: Path) -> None:
    terminals, found = {}, set()
    for name in ("one", "two"):
        description = tmp_path / f"{name}.toml"
        description.write_text(DESCRIPTION % (name, 'backend = "switch"\nlink = "lan"'))
        terminals[name] = sel4py.terminal("up", description)
        terminals[name].until(b"mac 52:54:00:")
        found.add(terminals[name].until(b"\n").strip())
    assert len(found) == 2  # each system has an address of its own
    with Member(sel4py.folder / ".links" / "lan") as member:
        member.echoed(b"over the switch", 2)  # each of the systems gives it back
    for name, terminal in terminals.items():
        sel4py.ok("down", "--system", name)
        assert terminal.wait() == 0


def test_switches_of_two_systems_that_are_private_stay_apart_and_leave_nothing(
    sel4py: Supervisor, tmp_path: Path
) -> None:
    """Also if a system is ended at once; what is left, the fixture finds."""
    keys = 'backend = "switch"\nlink = "lan"\nprivate = true'
    senders, heard = {}, {}
    with ExitStack() as members:
        for name in ("one", "two"):
            description = tmp_path / f"{name}.toml"
            description.write_text(DESCRIPTION % (name, keys))
            sel4py.ok("up", description, "--detach")
            member = members.enter_context(Member(sel4py.folder / name / "switches" / "lan"))
            senders[name], heard[name] = member.echoed(name.encode(), 1), member.heard
        assert len(senders["one"] | senders["two"]) == 2
        assert all(frame.endswith(b"two") for frame in heard["two"])
        assert not (sel4py.folder / ".links").exists()
    sel4py.ok("down", "--system", "one", "--force")
    sel4py.ok("down", "--system", "two")
