"""A whole network: the host asks a task for pages, through gateway, card, driver, lwIP and the network server."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import http.client
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from servers.network.stack import is_built
from tests.system.images.net_pages import PAGE_BYTES
from tests.system.supervisor import ROOT, Supervisor

pytestmark = pytest.mark.skipif(not is_built(), reason="lwIP is not built")

SYSTEM = """
[system]
name = "served"
paths = ["{root}"]

[machine]
ram = "512M"

[machine.devices.clock0]
type = "clock"
port = 0x40
irq = 0

[machine.devices.net0]
type = "virtio-net"
port = 0x1000
irq = 5
backend = "user"
mtu = {mtu}
forward = ["tcp:127.0.0.1:0-80"]

[task.ethernet]
image = "servers.ethernet.main"
priority = 200
restart = "always"
pool = "256K"
slot_bits = 10
provides = {{ card = "libsel4py.interfaces.ethernet:Ethernet" }}
devices = {{ card = {{ device = "net0", io_space = "4K" }} }}

[task.network]
image = "servers.network.main"
priority = 180
restart = "always"
memory = "64M"
pool = "16M"
slot_bits = 12
uses = {{ card = {{ from = "ethernet.card", rights = "rwgp" }} }}
devices = {{ clock = "clock0" }}
provides = {{ network = "libsel4py.interfaces.network:Network" }}
config = {{ addresses = "{addresses}", gateways = "{gateways}" }}

[task.pages]
image = "tests.system.images.net_pages"
threads = 2
pool = "8M"
slot_bits = 10
config = {{ scene = "{scene}" }}
uses = {{ network = {{ from = "network.network", rights = "rwgp" }} }}
"""


@contextlib.contextmanager
def served(
    sel4py: Supervisor, folder: Path, *, mtu: int = 1500, dhcp: bool = False, scene: str = "pages"
) -> Iterator[int]:
    """A system whose pages are at a port of this host."""
    description = folder / "served.toml"
    static = {"addresses": "10.0.2.15/24", "gateways": "10.0.2.2"}
    where = {"addresses": "dhcp", "gateways": ""} if dhcp else static
    description.write_text(SYSTEM.format(root=ROOT, mtu=mtu, scene=scene, **where))
    sel4py.ok("up", description, "--detach")
    try:
        yield sel4py.forwarded_port("--system", "served")
    finally:
        sel4py.ok("down", "--system", "served")
        sel4py.wait_ended("served")


def page(port: int, path: str) -> bytes:
    """A page of the task's. It may begin to listen later than the host asks."""
    until = time.monotonic() + 30
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        try:
            connection.request("GET", path)
            return connection.getresponse().read()
        except (ConnectionError, http.client.HTTPException):
            if time.monotonic() > until:
                raise
        finally:
            connection.close()


def wait_listening(port: int) -> None:
    """Until a task that echoes listens at a port of this host."""
    until = time.monotonic() + 30
    while True:
        with contextlib.suppress(ConnectionError), socket.create_connection(("127.0.0.1", port), 20) as sock:
            sock.sendall(b"?")
            if sock.recv(1) == b"?":
                return
        assert time.monotonic() < until, "nobody listens"


def expected(path: str) -> bytes:
    return (path.encode() * PAGE_BYTES)[:PAGE_BYTES]


@pytest.mark.parametrize(("mtu", "dhcp"), [(1500, False), (65535, False), (1500, True)])
def test_the_host_fetches_pages(sel4py: Supervisor, tmp_path: Path, mtu: int, dhcp: bool) -> None:
    with served(sel4py, tmp_path, mtu=mtu, dhcp=dhcp) as port:
        assert page(port, "/first/") == expected("/first/")
        start = time.perf_counter()
        for number in range(10):
            path = f"/{number}/"
            assert hashlib.sha256(page(port, path)).digest() == hashlib.sha256(expected(path)).digest()
        print(f"mtu {mtu}: {10 / (time.perf_counter() - start):.1f} MiB/s")


def test_connections_outlive_the_driver(sel4py: Supervisor, tmp_path: Path) -> None:
    with served(sel4py, tmp_path) as port:
        assert page(port, "/before/") == expected("/before/")
        sel4py.ok("kill", "ethernet", "--system", "served")
        assert page(port, "/after/") == expected("/after/")


def test_many_connections_at_once_are_echoed(sel4py: Supervisor, tmp_path: Path) -> None:
    async def one(port: int, number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        data = bytes([number]) * 10_000
        writer.write(data)
        writer.write_eof()
        assert await reader.read(-1) == data
        writer.close()

    async def main(port: int) -> None:
        await asyncio.gather(*(one(port, number) for number in range(200)))

    with served(sel4py, tmp_path, scene="asyncio") as port:
        wait_listening(port)
        asyncio.run(asyncio.wait_for(main(port), 40))


def test_more_clients_than_a_server_has_sockets_for_do_not_end_it(sel4py: Supervisor, tmp_path: Path) -> None:
    """Each holds a connection, and says nothing more. Who comes behind them is served once they are gone."""

    async def echoed(port: int, data: bytes) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(data)
        writer.write_eof()
        assert await reader.read(-1) == data
        writer.close()

    async def main(port: int) -> None:
        held = []
        for _ in range(400):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"half")
            held.append(writer)
        late = asyncio.create_task(echoed(port, b"late"))
        await asyncio.wait([late], timeout=1.0)
        for writer in held:
            writer.transport.abort()
        await late

    with served(sel4py, tmp_path, scene="asyncio") as port:
        wait_listening(port)
        asyncio.run(asyncio.wait_for(main(port), 60))
        (row,) = [each for each in sel4py.result("ps", "--system", "served") if each["name"] == "pages"]
        assert row["restarts"] == 0


SIDE = """
[machine.devices.clock{number}]
type = "clock"
port = {clock_port}
irq = {clock_irq}

[machine.devices.net{number}]
type = "virtio-net"
port = {port}
irq = {irq}
backend = "switch"
link = "lan"
mac = "02:00:00:00:00:0{number}"
mtu = {mtu}

[task.ethernet{number}]
image = "servers.ethernet.main"
priority = 200
pool = "256K"
slot_bits = 10
provides = {{ card = "libsel4py.interfaces.ethernet:Ethernet" }}
devices = {{ card = {{ device = "net{number}", io_space = "4K" }} }}

[task.network{number}]
image = "servers.network.main"
priority = 180
memory = "64M"
pool = "16M"
slot_bits = 12
uses = {{ card = {{ from = "ethernet{number}.card", rights = "rwgp" }} }}
devices = {{ clock = "clock{number}" }}
provides = {{ network = "libsel4py.interfaces.network:Network" }}
config = {{ addresses = "10.0.2.{number}/24, fd00::{number}/64" }}

[task.side{number}]
image = "tests.system.images.{image}"
essential = {essential}
threads = 1
pool = "8M"
slot_bits = 10
config = {{ scene = "pages", host = "{host}" }}
uses = {{ network = {{ from = "network{number}.network", rights = "rwgp" }} }}
"""


def side(number: int, image: str, mtu: int, *, host: str = "", essential: str = "false") -> str:
    ports = {"port": 0x1000 + 0x200 * number, "clock_port": 0x40 + 8 * number}
    lines = {"irq": 2 * number, "clock_irq": 2 * number + 1}
    return SIDE.format(number=number, image=image, mtu=mtu, host=host, essential=essential, **ports, **lines)


@pytest.mark.parametrize("mtu", [1500, 65535])
def test_two_stacks_fetch_pages_through_a_switch(sel4py: Supervisor, tmp_path: Path, mtu: int) -> None:
    description = tmp_path / "linked.toml"
    description.write_text(
        f'[system]\nname = "linked"\npaths = ["{ROOT}"]\n\n[machine]\nram = "512M"\n'
        + side(1, "net_pages", mtu)
        + side(2, "net_user", mtu, host="10.0.2.1", essential="true")
    )
    ended = sel4py.run("up", description)
    logs = sel4py.run("logs", "--system", "linked").output
    for lock in (tmp_path / "run").rglob("lan.lock"):  # a link's lock stays, whoever takes it next
        lock.unlink()
    assert ended.status == 0, f"{ended}\n{logs}"
