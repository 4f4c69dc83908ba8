"""The workstation's disk and network: what a person does with files in the shell, and what the host fetches of them."""

from __future__ import annotations

import hashlib
import http.client
import random
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from servers.network.stack import is_built
from tests.system.supervisor import PROMPT, ROOT, Supervisor
from tests.system.test_large_pages import wait_served

IMAGE = "workstation/workstation.img"
CLIENTS = 200
SCRIPT = """\
write notes one line
cat notes > copy
cat notes copy | grep line | wc
mkdir docs
cp notes docs
mv copy docs/moved
ls docs
write /tmp/scratch gone tomorrow
cat /tmp/scratch | hexdump
stat docs/moved
rm docs/notes
ls /docs
call store put ada "\\"MTgxNQ==\\""
cat nowhere
exit
"""


def answers(shown: str) -> list[str]:
    """What came behind each prompt, without the line that was typed."""
    return [part.partition("\n")[2] for part in shown.replace("\r", "").split("sel4py> ")[1:]]


def image_of(sel4py: Supervisor) -> Path:
    return Path(sel4py.environment["SEL4PY_STATE_DIR"]) / IMAGE


def test_files_are_there_when_the_power_comes_back(sel4py: Supervisor) -> None:
    first = sel4py.run("up", "workstation", typed=SCRIPT.encode())
    assert first.status == 0, first.error
    told = answers(first.output)
    assert told[2] == "2 lines, 4 words, 18 bytes\n"
    assert [row.split()[0] for row in told[6].splitlines()] == ["name", "moved", "notes"]
    assert "|gone tomorrow.|" in told[8]
    assert told[9].startswith("docs/moved: file, 9 bytes")
    assert [row.split()[0] for row in told[11].splitlines()] == ["name", "moved"]
    assert "No such file" in told[13]
    again = answers(
        sel4py.run("up", "workstation", typed=b"cat docs/moved\nls /tmp\ncall store get ada\nexit\n").output
    )
    assert again[:3] == ["one line\n", "", '"MTgxNQ=="\n']
    assert sel4py.run("disk", "check", image_of(sel4py)).status == 0


@pytest.fixture
def pages(sel4py: Supervisor, tmp_path: Path) -> tuple[Supervisor, int, bytes]:
    """A workstation with a page that the host put on its disk; the port of the host that leads to it; the page."""
    if not is_built():
        pytest.skip("this tree was built without lwIP (sel4py doctor)")
    page = random.Random(5).randbytes(4 << 20)
    (tmp_path / "page").write_bytes(page)
    sel4py.run("up", "workstation", typed=b"mkdir www\nexit\n")
    sel4py.ok("disk", "import", image_of(sel4py), tmp_path / "page", "www/page")
    sel4py.ok("up", "workstation", "--detach")
    port = sel4py.forwarded_port()
    wait_served("127.0.0.1", port)
    return sel4py, port, page


def fetch(port: int, path: str, **headers: str) -> tuple[int, bytes]:
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    client.request("GET", path, headers=headers)
    response = client.getresponse()
    found = response.status, response.read()
    client.close()
    return found


def test_the_host_fetches_pages_of_the_disk(pages: tuple[Supervisor, int, bytes]) -> None:
    sel4py, port, page = pages
    status, body = fetch(port, "/page")
    assert (status, hashlib.sha256(body).digest()) == (200, hashlib.sha256(page).digest())
    assert fetch(port, "/page", Range="bytes=1000000-1000009") == (206, page[1000000:1000010])
    assert fetch(port, "/no")[0] == 404
    assert fetch(port, "/../var/store")[0] == 404
    assert b'<a href="page">' in fetch(port, "/")[1]
    together = Barrier(CLIENTS)

    def connected_at_once(at: int) -> tuple[int, bytes]:
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        client.connect()
        together.wait(60)
        client.request("GET", "/page", headers={"Range": f"bytes={at}-{at + 99}"})
        response = client.getresponse()
        found = response.status, response.read()
        client.close()
        return found

    with ThreadPoolExecutor(CLIENTS) as clients:
        found = list(clients.map(connected_at_once, range(CLIENTS)))
    assert found == [(206, page[at : at + 100]) for at in range(CLIENTS)]
    sel4py.ok("down")


def test_a_hostile_client_of_the_web_server_hurts_nobody(pages: tuple[Supervisor, int, bytes]) -> None:
    sel4py, port, page = pages
    randomly = random.Random(9)
    for number in range(300):
        with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
            client.sendall(randomly.choice((b"", b"GET ", b"GET / HTTP/1.1\r\n")) + randomly.randbytes(number))
    assert fetch(port, "/page", Range="bytes=0-9") == (206, page[:10])
    assert {row["name"]: row["restarts"] for row in sel4py.rows("ps")}["httpd"] == 0
    sel4py.ok("down")


def test_two_nodes_reach_each_other_by_their_switch(sel4py: Supervisor) -> None:
    if not is_built():
        pytest.skip("this tree was built without lwIP (sel4py doctor)")
    folder = ROOT / "deploy" / "systems" / "two-nodes"
    beta = sel4py.terminal("up", folder / "beta.toml")
    beta.until(PROMPT)
    beta.type(b"write hello from beta\r")
    beta.until(PROMPT)
    beta.type(b"fetch http://10.1.0.2/hello\r")
    while b"from beta" not in beta.until(PROMPT):  # its web server begins in its own time
        beta.type(b"fetch http://10.1.0.2/hello\r")
    script = "ping 10.1.0.2 5\nfetch http://10.1.0.2/hello\nping 10.9.0.1\nifconfig\nexit\n"
    told = answers(sel4py.run("up", folder / "alpha.toml", typed=script.encode()).output)
    assert "10.1.0.2: answer" in told[0]
    assert told[1] == "from beta\n"
    assert "no rule permits: ping 10.9.0.1" in told[2]
    assert "10.1.0.1/24" in told[3]
    beta.type(b"exit\r")
    assert beta.wait() == 0
    for lock in sel4py.folder.glob("**/*.lock"):
        lock.unlink()  # a switch's lock stays for the next one
