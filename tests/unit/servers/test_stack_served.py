"""lwIP's clients of DHCP and DNS with servers that others wrote, where they are installed, and with one of the RFCs."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from libsel4py.interfaces.network import NameServerFailed, NameUnknown
from servers.network import _lwip
from servers.network.stack import Stack, is_built
from tests.dhcp_server import ACK, DISCOVER, NAK, RELEASE, REQUEST, Lease, Server, serve
from tests.network_namespace import TAP, WHY_NOT
from tests.unit.servers.stack_pair import ADDRESSES, linux, run_pair
from tests.unit.servers.test_stack import until

pytestmark = [
    pytest.mark.skipif(not is_built(), reason="this tree was built without lwIP's source (make build says why)"),
    pytest.mark.skipif(WHY_NOT is not None, reason=f"no Linux as a peer: {WHY_NOT}"),
]
Work = Generator[None, None, None]
FIRST, LAST = "10.0.0.50", "10.0.0.60"
SERVER = ADDRESSES[1]
UDHCPD = f"""\
start {FIRST}
end {LAST}
interface {TAP}
lease_file {{folder}}/leases
pidfile {{folder}}/pid
option subnet 255.255.255.0
option router {SERVER}
option dns {SERVER}
option lease 3600
"""


def asks(also: Callable[[Stack], Work] | None = None) -> Callable[[Stack], Work]:
    """Our side: it has an address of the range, the gateway and the name server, and reaches the server; then more."""

    def work(stack: Stack) -> Work:
        def own() -> str | None:
            (interface,) = stack.interfaces()
            found = [text for text in interface.addresses if ":" not in text]
            return found[0] if found else None

        yield from until(own)
        address = ipaddress.ip_interface(str(own()))
        assert ipaddress.ip_address(FIRST) <= address.ip <= ipaddress.ip_address(LAST)
        assert str(address.network) == "10.0.0.0/24"
        (interface,) = stack.interfaces()
        assert (interface.gateways[0], interface.name_servers[0]) == (SERVER, SERVER)
        answered: list[None] = []
        stack.ping(SERVER, 56, lambda: answered.append(None))
        yield from until(lambda: answered)
        if also is not None:
            yield from also(stack)

    return work


def test_a_lease_of_a_difficult_server() -> None:
    def work() -> None:
        came = serve(TAP, SERVER, Lease("10.0.0.55", "255.255.255.0", SERVER, SERVER))
        assert came == [DISCOVER, REQUEST, DISCOVER, REQUEST]

    run_pair(asks(), linux(work), first_asks=True)


def leased(number: int) -> Lease:
    """One of an hour. The name server says which it is."""
    return Lease(f"10.0.0.{number}", "255.255.255.0", SERVER, f"10.0.1.{number}", 3600)


def minutes(count: int) -> Work:
    for _ in range(count):
        _lwip.let_go_by(60_000)
        yield


def holds(stack: Stack, address: str | None, name_server: str) -> bool:
    """Whether the stack has this address of IPv4, and asks this server for names."""
    (interface,) = stack.interfaces()
    found = [text.split("/")[0] for text in interface.addresses if ":" not in text]
    return found == ([address] if address else []) and interface.name_servers[:1] == [name_server]


def test_a_lease_is_renewed_rebound_and_given_up() -> None:
    """As RFC 2131, 4.4.5 says: at half of its time by its server, then by any; unanswered it is not used longer."""
    first, renewed, rebound, other, last = (leased(number) for number in (51, 52, 53, 54, 55))
    again = [replace(each, address=first.address) for each in (renewed, rebound)]

    def work() -> None:
        with Server(TAP, SERVER) as server:
            server.give(first)
            renewal = server.next()
            assert (renewal.kind, renewal.holder, renewal.to_all) == (REQUEST, first.address, False)
            server.answer(renewal, ACK, again[0])
            asked = 0
            while not (rebinding := server.next()).to_all:
                assert (rebinding.kind, rebinding.holder) == (REQUEST, first.address)
                asked += 1
            assert asked > 1, "who is not answered asks again"
            assert (rebinding.kind, rebinding.holder) == (REQUEST, first.address)
            server.answer(rebinding, ACK, again[1])
            while (message := server.next()).kind in (REQUEST, RELEASE):
                assert message.holder == first.address
            server.give(other, message)
            refused = server.next()
            assert (refused.kind, refused.holder) == (REQUEST, other.address)
            server.answer(refused, NAK, other)
            server.give(last)

    def side(stack: Stack) -> Work:
        yield from until(lambda: holds(stack, first.address, first.name_server))
        yield from minutes(30)
        yield from until(lambda: holds(stack, first.address, renewed.name_server))
        yield from minutes(53)
        yield from until(lambda: holds(stack, first.address, rebound.name_server))
        yield from minutes(59)
        assert holds(stack, first.address, rebound.name_server)
        yield from minutes(1)
        assert holds(stack, None, rebound.name_server), "its time is over"
        yield from until(lambda: holds(stack, other.address, other.name_server))
        yield from minutes(30)
        yield from until(lambda: holds(stack, last.address, last.name_server))

    run_pair(side, linux(work), first_asks=True)


@contextlib.contextmanager
def running(*command: str) -> Iterator[subprocess.Popen[bytes]]:
    """A server of others; the stack asks again until it answers, and so need not be told."""
    environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, env=environment)
    try:
        yield process
        assert process.poll() is None, f"{command[0]} has ended with {process.returncode}"
    finally:
        process.kill()
        process.wait()


@pytest.mark.skipif(shutil.which("busybox") is None, reason="busybox, which has udhcpd, is not installed")
def test_a_lease_of_udhcpd() -> None:
    run_with(asks(), "udhcpd", lambda folder: ("busybox", "udhcpd", "-f", f"{folder}/udhcpd.conf"))


@pytest.mark.skipif(shutil.which("dnsmasq") is None, reason="dnsmasq is not installed")
def test_a_lease_and_names_of_dnsmasq() -> None:
    def names(stack: Stack) -> Work:
        answers: dict[str, object] = {}
        for name in ("peer.example", "long." + "x" * 63 + ".example", "nobody.example"):
            stack.resolve(name, lambda found, name=name: answers.__setitem__(name, found))  # type: ignore[misc]
        yield from until(lambda: len(answers) == 3)
        assert answers["peer.example"] == ["10.0.0.77"]
        assert answers["long." + "x" * 63 + ".example"] == ["10.0.0.78"]
        assert isinstance(answers["nobody.example"], NameUnknown | NameServerFailed)

    run_with(
        asks(names),
        "dnsmasq",
        lambda folder: (
            "dnsmasq",
            "--keep-in-foreground",
            f"--conf-file={folder}/dnsmasq.conf",
            "--user=root",
            "--no-resolv",
            "--no-hosts",
            f"--interface={TAP}",
            "--bind-interfaces",
            f"--pid-file={folder}/pid",
            f"--dhcp-leasefile={folder}/leases",
            f"--dhcp-range={FIRST},{LAST},120",
            "--address=/peer.example/10.0.0.77",
            f"--address=/long.{'x' * 63}.example/10.0.0.78",
            "--local=/nobody.example/",
        ),
    )


def run_with(side: Callable[[Stack], Work], name: str, command: Callable[[Path], tuple[str, ...]]) -> None:
    """Our side, and Linux with a server until that side has come to its end."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        (folder / f"{name}.conf").write_text(UDHCPD.format(folder=folder) if name == "udhcpd" else "")
        (folder / "leases").touch()
        run_pair(side, linux(lambda: None, lambda: running(*command(folder))), first_asks=True)
