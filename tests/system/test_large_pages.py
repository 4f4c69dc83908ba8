"""Large pages of the workstation's web server, fetched by the host's programs: by a forwarded port, and by a tap."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import random
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from servers.network.stack import is_built
from tests.network_namespace import TAP, WHY_NOT, network_namespace
from tests.system.supervisor import ROOT, Supervisor

pytestmark = pytest.mark.skipif(not is_built(), reason="this tree was built without lwIP (sel4py doctor)")

NAME = "pages"
USER_LINK = 'backend = "user"\nmtu = 16000\nforward = ["tcp:127.0.0.1:0-80"]\n'
TAP_LINK = f'backend = "tap"\ninterface = "{TAP}"\nmtu = 1500\n'
HOST, GUEST = "10.7.0.1", "10.7.0.2"
TAP_RULES = "[task.network.config.clients]\n"
TAP_ADDRESS = f'[task.network.config]\naddresses = "{GUEST}/24"\n\n'
SMALL = 8 << 20
LARGE = [SMALL, pytest.param(100 << 20, marks=[pytest.mark.slow, pytest.mark.timeout(300)])]


@contextlib.contextmanager
def workstation(sel4py: Supervisor, folder: Path, size: int, *, tap: bool = False) -> Iterator[tuple[str, int, str]]:
    """The workstation with a larger disk, on which a page of so many bytes is; where it is served, and its SHA-256.

    The disk is whole afterwards.
    """
    text = (ROOT / "deploy" / "systems" / "workstation.toml").read_text()
    text = text.replace("workstation.img", "pages.img")
    if tap:
        assert text.count(USER_LINK) == text.count(TAP_RULES) == 1
        text = text.replace(USER_LINK, TAP_LINK).replace(TAP_RULES, TAP_ADDRESS + TAP_RULES)
    description, image, page = folder / f"{NAME}.toml", folder / "pages.img", folder / "site" / "page"
    description.write_text(f'[system]\nname = "{NAME}"\n\n{text}')
    page.parent.mkdir()
    page.write_bytes(random.Random(size).randbytes(size))
    sel4py.ok("disk", "create", image, "--size", f"{(size >> 20) + 32}M")
    sel4py.ok("disk", "import", image, page.parent, "www")
    sel4py.ok("up", description, "--detach")
    try:
        if tap:
            host, port = GUEST, 80
        else:
            host, port = "127.0.0.1", sel4py.forwarded_port()
        wait_served(host, port)
        yield host, port, hashlib.sha256(page.read_bytes()).hexdigest()
    finally:
        sel4py.ok("down")
    sel4py.ok("disk", "check", image)


def wait_served(host: str, port: int) -> None:
    """Until the web server answers: it may begin to listen later than the host asks."""
    deadline = time.monotonic() + 30
    while True:
        client = http.client.HTTPConnection(host, port, timeout=30)
        try:
            client.request("HEAD", "/page")
            assert client.getresponse().status == 200
            return
        except (OSError, http.client.HTTPException):
            assert time.monotonic() < deadline, "nobody serves"
        finally:
            client.close()


def with_curl(host: str, port: int) -> str:
    """The SHA-256 of what curl gets."""
    found = subprocess.run(["curl", "--silent", "--show-error", "--fail", f"http://{host}:{port}/page"], stdout=-1)
    assert found.returncode == 0, f"curl ends with {found.returncode}"
    return hashlib.sha256(found.stdout).hexdigest()


def with_http_client(host: str, port: int) -> str:
    """Likewise, of Python's http.client."""
    client = http.client.HTTPConnection(host, port, timeout=60)
    client.request("GET", "/page")
    response = client.getresponse()
    assert response.status == 200
    body = response.read()
    client.close()
    return hashlib.sha256(body).hexdigest()


def fetched_by_all(host: str, port: int, size: int, wanted: str) -> None:
    if shutil.which("curl") is None:
        print("curl is not installed: http.client alone fetches")
    for fetch in (with_http_client, *([with_curl] if shutil.which("curl") else [])):
        began = time.perf_counter()
        assert fetch(host, port) == wanted
        print(f"{fetch.__name__}: {size / 2**20 / (time.perf_counter() - began):.1f} MiB/s")


@pytest.mark.parametrize("size", LARGE)
def test_a_page_by_a_forwarded_port(sel4py: Supervisor, tmp_path: Path, size: int) -> None:
    with workstation(sel4py, tmp_path, size) as (host, port, wanted):
        fetched_by_all(host, port, size, wanted)


@pytest.mark.skipif(WHY_NOT is not None, reason=f"no tap: {WHY_NOT}")
@pytest.mark.parametrize("size", LARGE)
def test_a_page_by_a_tap(sel4py: Supervisor, tmp_path: Path, size: int) -> None:
    """The whole system, and who fetches, in a network namespace with a tap."""
    made = f"tuntap add dev {TAP} mode tap", f"link set {TAP} up", f"addr add {HOST}/24 dev {TAP}"
    with network_namespace(*made), workstation(sel4py, tmp_path, size, tap=True) as (host, port, wanted):
        fetched_by_all(host, port, size, wanted)
        peers = [socket.create_connection((host, port), 30) for _ in range(200)]
        for peer in peers:
            peer.sendall(b"HEAD /page HTTP/1.1\r\nHost: guest\r\nConnection: close\r\n\r\n")
        for peer in peers:
            with peer, peer.makefile("rb") as answer:
                assert answer.readline() == b"HTTP/1.1 200 OK\r\n"
