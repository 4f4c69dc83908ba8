"""Commands on the network, as far as the shell's rules go."""

from __future__ import annotations

import socket
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from typing import Final
from urllib.parse import quote, urlsplit

from apps.shell.command import command
from apps.shell.session import CommandError, Session
from apps.shell.table import seconds, size, table
from libsel4py.sockets import Net

SECONDS: Final = 5.0
PORTS: Final = {"http": 80}
IN_ADDRESSES: Final = "%/?#[]@!$&'()*+,;=:~"  # signs that mean something there, RFC 3986 2.2


@command("", "the network interfaces, their addresses, and what went through them")
def run_ifconfig(session: Session, arguments: list[str]) -> None:
    for each in session.net.interfaces():
        state = "up" if each.is_up else "down"
        session.write(f"{each.name}: {state}, {each.mac}, packets of {each.mtu} bytes\n")
        for name, texts in (
            ("addresses", each.addresses),
            ("gateways", each.gateways),
            ("name servers", each.name_servers),
        ):
            session.write(f"  {name:12}  {', '.join(texts) or 'none'}\n")
        session.write(f"  received      {each.received} frames, {size(each.received_bytes)}, {each.dropped} dropped\n")
        session.write(f"  sent          {each.sent} frames, {size(each.sent_bytes)}\n")


@command("HOST", "the addresses of a name")
def run_nslookup(session: Session, arguments: list[str]) -> None:
    session.write(table(("name", "address"), [(arguments[0], each) for each in _addresses(session, arguments[0])]))


def _addresses(session: Session, host: str) -> list[str]:
    try:
        return session.net.lookup(host, SECONDS)
    except socket.gaierror as error:
        raise CommandError(f"{host}: {error.args[-1]}") from error


def ping_host(session: Session, host: str, count: int, limit: float = SECONDS) -> None:
    """Send echo requests to a host, one after the other. Raises CommandError: none was answered."""
    address = _addresses(session, host)[0]
    answered = 0
    for at in range(count):
        taken = session.net.ping(address, timeout=limit)
        if taken is None:
            session.write(f"{address}: no answer within {limit:.0f} s\n")
        else:
            answered += 1
            session.write(f"{address}: answer {at + 1} in {seconds(int(taken * 1e9))}\n")
    if not answered:
        raise CommandError(f"{host} does not answer")


@command("URL", "get a page by HTTP, and put out its body")
def run_fetch(session: Session, arguments: list[str]) -> None:
    host, port, target = _page(arguments[0])
    client = HTTPConnection(host, port, timeout=SECONDS)
    client.sock = _connect(session.net, host, port)  # a socket of ours
    try:
        client.request("GET", target)
        response = client.getresponse()
        while piece := response.read(65536):
            session.send(piece)
    except HTTPException as error:
        raise CommandError(f"{host} answers with something that is no HTTP: {error!r}") from error
    finally:
        client.close()
    if response.length:  # of what was announced, so much did not come: `read` of a part does not say so
        raise CommandError(f"{host} has ended the page {response.length} bytes before its end")
    if response.status != HTTPStatus.OK:
        elsewhere = response.getheader("Location")
        where = f", and that the page is at {elsewhere!r}" if elsewhere else ""
        raise CommandError(f"{host} answers {response.status} {response.reason}{where}")


def _page(url: str) -> tuple[str, int, str]:
    """Host, port and request target of an address. What is no part of one as it stands is written by its bytes."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in PORTS or not parts.hostname or port == 0:
        raise CommandError(f"{url!r} is no address of a page: write http://HOST[:PORT]/PATH")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return parts.hostname, port or PORTS[parts.scheme], quote(target, safe=IN_ADDRESSES)


def _connect(net: Net, host: str, port: int) -> object:
    try:
        return net.create_connection((host, port), SECONDS)
    except socket.gaierror as error:
        raise CommandError(f"{host}: {error.args[-1]}") from error
