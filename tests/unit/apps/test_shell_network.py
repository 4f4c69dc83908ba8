"""The shell's network commands, where the other side is not as it should be."""

from __future__ import annotations

import socket
import threading
from typing import Any

import pytest

from apps.shell.commands import network
from apps.shell.session import CommandError


class Session:
    """What the commands use of a session."""

    def __init__(self) -> None:
        self.net: Any = self
        self.sent = b""

    def send(self, data: bytes) -> None:
        self.sent += data

    def lookup(self, host: str, seconds: float) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "the name is not known")


def fetched(monkeypatch: pytest.MonkeyPatch, answer: bytes) -> bytes:
    """What `fetch` puts out of an answer behind which the connection ends."""
    near, far = socket.socketpair()
    monkeypatch.setattr(network, "_connect", lambda net, host, port: near)

    def serve() -> None:
        with far:
            far.recv(4096)
            far.sendall(answer)

    server = threading.Thread(target=serve)
    server.start()
    session: Any = Session()
    try:
        network.run_fetch(session, ["http://host/page"])
    finally:
        server.join()
        near.close()
    return bytes(session.sent)


def test_a_page_is_put_out(monkeypatch: pytest.MonkeyPatch) -> None:
    assert fetched(monkeypatch, b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npage") == b"page"
    assert fetched(monkeypatch, b"HTTP/1.1 200 OK\r\n\r\nto the end") == b"to the end"


def test_a_page_that_is_cut_is_no_page(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CommandError, match="has ended the page 99988 bytes before its end"):
        fetched(monkeypatch, b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"x" * 12)


@pytest.mark.parametrize(
    ("url", "page"),
    [
        ("http://host", ("host", 80, "/")),
        ("http://[::1]:8080/a?b=c&d", ("::1", 8080, "/a?b=c&d")),
        ("http://host/a b/é%20?ö", ("host", 80, "/a%20b/%C3%A9%20?%C3%B6")),
    ],
)
def test_an_address_is_taken_apart(url: str, page: tuple[str, int, str]) -> None:
    assert network._page(url) == page


@pytest.mark.parametrize(
    "url", ["", "host", "ftp://host/", "http:///a", "http://[::1/", "http://h:99999/", "http://h:0/"]
)
def test_what_is_no_address_of_a_page_is_told(url: str) -> None:
    with pytest.raises(CommandError, match="is no address of a page"):
        network.run_fetch(Session(), [url])  # type: ignore[arg-type]


def test_where_a_page_is_instead_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CommandError, match="301 Moved, and that the page is at '/docs/'"):
        fetched(monkeypatch, b"HTTP/1.1 301 Moved\r\nContent-Length: 0\r\nLocation: /docs/\r\n\r\n")


def test_a_host_that_nobody_knows_is_named() -> None:
    session: Any = Session()
    with pytest.raises(CommandError, match="nowhere: the name is not known"):
        network.ping_host(session, "nowhere", 1)
