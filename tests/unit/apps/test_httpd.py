"""The HTTP server over the host's own sockets: what the standard library's client sees, and what a hostile one gets."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import http.client
import io
import random
import re
import socket
from collections.abc import Callable
from typing import BinaryIO

import pytest

from apps.httpd import connection
from apps.httpd.content import Tree, answer
from apps.httpd.room import Room
from libsel4py.interfaces.file import Kind, Stat

BIG = random.Random(1).randbytes(3_000_001)


class Dictionary(Tree):
    """Files in a dictionary, by paths without the leading slash."""

    def __init__(self, **files: bytes) -> None:
        self.files = {name.replace("__", "/").replace("_", "."): data for name, data in files.items()}
        self.open_files: list[BinaryIO] = []

    def stat(self, path: str) -> Stat:
        name = path.strip("/")
        if ".." in name.split("/"):
            raise OSError(errno.EINVAL, "no path")
        if name == "secret":
            raise PermissionError(errno.EACCES, "not for you")
        if name == "broken":
            raise OSError(errno.EIO, "the disk is gone")
        if name in self.files:
            return Stat(Kind.FILE, len(self.files[name]), 1_700_000_000_000_000_000)
        if not name or any(each.startswith(name + "/") for each in self.files):
            return Stat(Kind.DIRECTORY, 0, 0)
        raise FileNotFoundError(errno.ENOENT, path)

    def names(self, path: str) -> list[str]:
        start = path.strip("/") + "/" if path.strip("/") else ""
        rests = [name[len(start) :] for name in self.files if name.startswith(start)]
        return sorted({rest.partition("/")[0] + "/" * ("/" in rest) for rest in rests})

    def open(self, path: str) -> BinaryIO:
        file = io.BytesIO(self.files[path.strip("/")])
        self.open_files.append(file)
        return file


TREE = Dictionary(big=BIG, a_txt="ä\n".encode(), site__index_html=b"<p>home", site__b_c=b"", docs__x=b"x")


def ask(client: Callable[[int], object]) -> object:
    """Run a blocking client in a thread against a server on the loopback; returns what it returned."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await connection.serve(reader, writer, lambda *request: answer(TREE, *request))
        writer.close()

    async def main() -> object:
        server = await asyncio.start_server(connected, "127.0.0.1", 0)
        async with server:
            return await asyncio.to_thread(client, server.sockets[0].getsockname()[1])

    return asyncio.run(main())


def get(path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    def client(port: int) -> tuple[int, dict[str, str], bytes]:
        link = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        link.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        response = link.getresponse()
        found = response.status, dict(response.getheaders()), response.read()
        link.close()
        return found

    return ask(client)  # type: ignore[return-value]


def raw(data: bytes) -> bytes:
    """What comes back for these bytes, to the end of the connection."""

    def client(port: int) -> bytes:
        async def talk() -> bytes:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(data)
            writer.write_eof()
            found = await reader.read()
            writer.close()
            return found

        return asyncio.run(talk())

    return ask(client)  # type: ignore[return-value]


def test_a_file_comes_whole_and_is_closed() -> None:
    status, headers, body = get("/big")
    assert (status, headers["Content-Length"], headers["Content-Type"]) == (200, "3000001", "application/octet-stream")
    assert hashlib.sha256(body).digest() == hashlib.sha256(BIG).digest()
    assert TREE.open_files
    assert all(file.closed for file in TREE.open_files)


def test_text_has_its_type_and_head_has_no_body() -> None:
    assert get("/a.txt") == get("/%61.txt?x=/../")
    status, headers, body = get("/a.txt", "HEAD")
    assert (status, headers["Content-Type"], headers["Content-Length"], body) == (
        200,
        "text/plain; charset=utf-8",
        "3",
        b"",
    )


@pytest.mark.parametrize(
    ("wanted", "start", "stop"),
    [("0-0", 0, 1), ("5-", 5, None), ("-7", -7, None), ("10-99999999", 10, None), ("3-9", 3, 10)],
)
def test_a_range_comes_alone(wanted: str, start: int, stop: int | None) -> None:
    status, headers, body = get("/big", Range=f"bytes={wanted}")
    assert (status, body) == (206, BIG[start:stop])
    assert headers["Content-Range"].endswith("/3000001")


@pytest.mark.parametrize("wanted", ["3000001-", "9-3", "-0"])
def test_a_range_that_is_not_there_is_refused(wanted: str) -> None:
    status, headers, _ = get("/big", Range=f"bytes={wanted}")
    assert (status, headers["Content-Range"]) == (416, "bytes */3000001")


@pytest.mark.parametrize("wanted", ["bytes=-", "lines=1-2", "bytes=1-2,4-5"])
def test_a_range_that_is_not_understood_gives_the_whole_file(wanted: str) -> None:
    assert get("/big", Range=wanted)[::2] == (200, BIG)


def test_what_the_client_has_is_not_sent_again() -> None:
    tag = get("/big")[1]["ETag"]
    assert get("/big", If_None_Match=tag)[::2] == (304, b"")
    assert get("/big", If_None_Match='"other"')[0] == 200


def test_of_what_has_not_changed_the_length_is_that_of_the_whole() -> None:
    assert get("/big", If_None_Match="*")[0] == 304
    _, headers, _ = get("/big", If_None_Match=get("/big")[1]["ETag"])
    assert headers["Content-Length"] == "3000001"


def test_a_part_of_another_file_is_not_sent() -> None:
    tag = get("/big")[1]["ETag"]
    assert get("/big", Range="bytes=5-9", If_Range=tag)[::2] == (206, BIG[5:10])
    for other in ('"other"', "W/" + tag, get("/big")[1]["Last-Modified"]):
        assert get("/big", Range="bytes=5-9", If_Range=other)[::2] == (200, BIG)


def test_a_head_has_no_range() -> None:
    status, headers, _ = get("/big", "HEAD", Range="bytes=5-9")
    assert (status, headers["Content-Length"]) == (200, "3000001")


def test_a_redirection_stays_at_this_host() -> None:
    for path in ("//docs", "/%2Fdocs", "///docs"):
        assert get(path)[1]["Location"] == "/docs/"


def test_a_target_may_name_the_host() -> None:
    assert get("http://other/docs/x")[::2] == (200, b"x")
    assert get("HTTP://other")[0] == 200
    assert get("ftp://other/docs/x")[0] == 400


def test_a_client_that_waits_to_be_told_to_go_on_is_told() -> None:
    def client(port: int) -> bytes:
        with socket.create_connection(("127.0.0.1", port), timeout=20) as link:
            link.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
            told = link.recv(4096)
            link.sendall(b"abc")
            return told + link.recv(4096)

    answered = ask(client)
    assert isinstance(answered, bytes)
    assert re.findall(rb"HTTP/1.1 (\d+)", answered) == [b"100", b"501"]


def test_directories_have_an_index_or_a_listing() -> None:
    assert get("/site/")[2] == b"<p>home"
    assert get("/site")[1]["Location"] == "/site/"
    listing = get("/")[2].decode()
    assert '<a href="big">big</a>' in listing
    assert '<a href="docs/">docs/</a>' in listing


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/no", 404),
        ("/a.txt/", 404),
        ("/../etc/passwd", 404),
        ("/%2e%2e/a", 404),
        ("/secret", 403),
        ("/broken", 500),
        ("/%ff", 400),
        ("*", 400),
    ],
)
def test_what_cannot_be_had_is_told(path: str, status: int) -> None:
    assert get(path)[0] == status


def test_other_methods_are_refused_and_the_connection_goes_on() -> None:
    answered = raw(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabcGET /docs/x HTTP/1.1\r\nHost: x\r\n\r\n")
    assert answered.startswith(b"HTTP/1.1 501 ")
    assert answered.endswith(b"\r\n\r\nx")


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"x: " + b"y" * 200_000, b"431"),
        (b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\n\r\n" + bytes(2_000_000), b"413"),
    ],
)
def test_what_is_no_request_is_told(data: bytes, status: bytes) -> None:
    assert raw(data).split()[1] == status


def test_a_client_that_says_nothing_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "PATIENCE_SECONDS", 0.05)

    class Silent:
        async def read(self, n: int = -1, /) -> bytes:
            return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return]

    with pytest.raises(TimeoutError):
        asyncio.run(connection.serve(Silent(), None, lambda *request: answer(TREE, *request)))  # type: ignore[arg-type]


class Taker:
    """Both sides of a connection whose client takes all at once. ``pieces``: which client got each piece, in order."""

    def __init__(self, name: str, pieces: list[str]) -> None:
        self._requests = [b"GET /big HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"]
        self._name, self._pieces = name, pieces

    async def read(self, n: int = -1, /) -> bytes:
        return self._requests.pop() if self._requests else b""

    def write(self, data: bytes, /) -> None:
        self._pieces.append(self._name)

    async def drain(self) -> None:
        pass


def test_clients_that_take_all_at_once_take_turns() -> None:
    pieces: list[str] = []

    async def main() -> None:
        takers = [Taker(name, pieces) for name in "ab"]
        await asyncio.gather(
            *(connection.serve(taker, taker, lambda *request: answer(TREE, *request)) for taker in takers)
        )

    asyncio.run(main())
    assert len(pieces) > 80
    assert pieces == list("ab") * (len(pieces) // 2)


def test_random_bytes_never_end_the_server() -> None:
    randomly = random.Random(2)
    words = [
        b"GET",
        b" ",
        b"/",
        b"HTTP/1.1",
        b"\r\n",
        b"Host: x",
        b"Content-Length: 5",
        b"Transfer-Encoding: chunked",
        b"0",
    ]
    for _ in range(200):
        text = b"".join(randomly.choice([*words, randomly.randbytes(3)]) for _ in range(randomly.randrange(20)))
        raw(text)
    assert get("/docs/x")[2] == b"x"


def test_a_request_of_two_lengths_is_none() -> None:
    head = b"POST /big HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
    found = raw(head + b"0\r\n\r\nGET /secret HTTP/1.1\r\nHost: x\r\n\r\n")
    assert found.startswith(b"HTTP/1.1 400")
    assert found.count(b"HTTP/1.1") == 1


class Idle:
    """A client that says nothing, and sees when it is dropped."""

    def __init__(self) -> None:
        self.dropped = asyncio.Event()

    async def read(self, n: int = -1) -> bytes:
        try:
            return await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            self.dropped.set()
            raise


class Asking(Idle):
    """A client that asks for one page, and says nothing more. Its own writer."""

    def __init__(self) -> None:
        super().__init__()
        self.found = b""
        self._asked = False
        self.answered = asyncio.Event()

    async def read(self, n: int = -1) -> bytes:
        if self._asked:
            self.answered.set()
            return await super().read(n)
        self._asked = True
        return b"GET /a.txt HTTP/1.1\r\nHost: x\r\n\r\n"

    def write(self, data: bytes) -> None:
        self.found += data

    async def drain(self) -> None:
        pass


def test_who_says_nothing_keeps_nobody_out() -> None:
    async def served(room: Room, client: Idle) -> None:
        async with room.place():
            with contextlib.suppress(TimeoutError):
                await connection.serve(client, client, lambda *request: answer(TREE, *request), room)  # type: ignore[arg-type]

    async def main() -> None:
        room = Room(3)
        clients = [Idle(), Idle(), last := Asking()]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(served(room, client)) for client in clients]
            await last.answered.wait()
            late = [Asking(), Asking()]
            for each in late:
                tasks.append(group.create_task(served(room, each)))
                async with asyncio.timeout(5):
                    await each.answered.wait()
                assert each.found.startswith(b"HTTP/1.1 200")
            assert [client.dropped.is_set() for client in (*clients, *late)] == [True, True, False, False, False]
            for task in tasks:
                task.cancel()

    asyncio.run(main())
