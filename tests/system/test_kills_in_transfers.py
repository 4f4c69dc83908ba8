"""Drivers and servers are killed while a page is on its way: the host's client sees what the documentation says.

That the other side's whole stack is gone a client is told when it sends something; the user network asks after 30 s.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import signal
from pathlib import Path

import pytest

from servers.network.stack import is_built
from tests.system.supervisor import Supervisor
from tests.system.test_large_pages import NAME, wait_served, with_http_client, workstation

pytestmark = pytest.mark.skipif(not is_built(), reason="this tree was built without lwIP (sel4py doctor)")

SIZE = 24 << 20  # more than can be on the way while nobody reads
GOES_ON = ("ethernet", "vfs", "block", "littlefs")
BACK_END_KILLS = 4
QUICK = ("ethernet", "block", "network")
ENDS_EARLY = ("httpd", "network")  # and nobody else begins anew


def restarts(sel4py: Supervisor) -> dict[object, object]:
    return {
        row["name"]: row["restarts"] for row in sel4py.rows("ps") if row["restarts"] and "." not in str(row["name"])
    }


def killed_on_the_way(sel4py: Supervisor, host: str, port: int, victim: str, *, asks: bool = True) -> str | None:
    """The SHA-256 of a page whose transfer had begun when a task was killed; None: it ended too early."""
    client = http.client.HTTPConnection(host, port, timeout=60)
    try:
        client.request("GET", "/page")
        response = client.getresponse()
        assert response.status == 200
        body = response.read(1 << 20)
        sel4py.ok("kill", victim)
        if victim == "network" and asks:
            wait_served(host, port)
            client.sock.sendall(b"is anybody there?")
        return hashlib.sha256(body + response.read()).hexdigest()
    except (http.client.IncompleteRead, ConnectionError):
        return None
    finally:
        client.close()


@pytest.mark.parametrize(
    "victim",
    [each if each in QUICK else pytest.param(each, marks=pytest.mark.slow) for each in (*GOES_ON, *ENDS_EARLY)],
)
def test_a_page_goes_on_or_ends_early_and_the_next_one_is_whole(
    sel4py: Supervisor, tmp_path: Path, victim: str
) -> None:
    with workstation(sel4py, tmp_path, SIZE) as (host, port, wanted):
        assert killed_on_the_way(sel4py, host, port, victim) == (wanted if victim in GOES_ON else None)
        wait_served(host, port)
        assert with_http_client(host, port) == wanted
        assert restarts(sel4py) == {victim: 1}


@pytest.mark.slow
def test_a_client_that_only_reads_is_told_in_the_end(sel4py: Supervisor, tmp_path: Path) -> None:
    with workstation(sel4py, tmp_path, SIZE) as (host, port, _):
        assert killed_on_the_way(sel4py, host, port, "network", asks=False) is None
        wait_served(host, port)


def user_network_of(monitor: int) -> int | None:
    """The process behind the user network, while there is one."""
    for child in Path(f"/proc/{monitor}/task/{monitor}/children").read_text().split():
        with contextlib.suppress(OSError):
            if b"hw.devices.user_network" in Path(f"/proc/{child}/cmdline").read_bytes():
                return int(child)
    return None


def test_a_page_goes_on_when_the_process_behind_the_user_network_is_killed(sel4py: Supervisor, tmp_path: Path) -> None:
    """Four times in one download of 24 MiB: no byte is wrong, the client sees nothing of it."""
    with workstation(sel4py, tmp_path, SIZE) as (host, port, wanted):
        monitor = int((sel4py.folder / NAME / "monitor.pid").read_text())
        client = http.client.HTTPConnection(host, port, timeout=60)
        client.request("GET", "/page")
        response = client.getresponse()
        digest, left, former = hashlib.sha256(), SIZE, None
        for _ in range(BACK_END_KILLS):
            while (process := user_network_of(monitor)) in (None, former):  # what is read moves on with its next life
                data = response.read(1 << 16)
                assert data, "the page has ended before the next life was there"
                digest.update(data)
                left -= len(data)
            assert process is not None
            os.kill(process, signal.SIGKILL)
            former = process
        data = response.read()
        digest.update(data)
        assert left == len(data)
        assert digest.hexdigest() == wanted
        client.close()
        assert with_http_client(host, port) == wanted
        assert restarts(sel4py) == {}
