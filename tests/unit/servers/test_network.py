"""The network server over a loopback stack: policies, sessions, sockets, and what waits."""

from __future__ import annotations

import errno
import http.client
import http.server
import socket
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, Final

import pytest

from libsel4py.abi import ObjectType
from libsel4py.bell import Bell
from libsel4py.capabilities import Untyped
from libsel4py.dataspace import DataSpace, SharedMemory
from libsel4py.environment import DEATH_BITS, Value
from libsel4py.errors import InvalidMessage, NotEnoughMemory, ServerDied
from libsel4py.interface import endpoint_of
from libsel4py.interfaces import network as net
from libsel4py.interfaces.network import AGAIN, FOREVER, MOST_HEARD, Address, Events, Kind, Network, Socket
from libsel4py.sockets import Net, NetSocket
from libsel4py.task import current_task
from libsel4py.testing import connect, in_background
from servers.network import questions
from servers.network.rules import MOST_LAYERS
from servers.network.service import NetworkServer
from servers.network.timers import Timers
from servers.network.turns import Turns
from tests.loopback_stack import WINDOW, Loopback

WAIT: Final = 10.0  # seconds until a call that should return has hung


class Server(NetworkServer):
    """The server under test, with its stack and clock in the test's hands."""

    def start(self) -> None:
        self.stack = Loopback()
        self.turns = Turns(self.stack, Timers())
        self.serve_stack(self.stack, self.turns)


@contextmanager
def served(**clients: str) -> Iterator[tuple[Server, Network]]:
    """The server and its client "test"."""
    server = Server()
    settings: dict[str, Value] = {"clients": dict(clients)} if clients else {}
    with connect(server, interface=Network, configuration=settings) as client:
        yield server, client


@contextmanager
def opened(client: Network, bits: int = 18) -> Iterator[Net]:
    with Net(client, pool_bits=bits, windows=2) as made:
        yield made


def pool(bits: int) -> Untyped:
    return Untyped(current_task().memory.allocate(ObjectType.UNTYPED, bits).start)


def time_passes(server: Server, client: Network, waits: Future[Any]) -> None:
    """What waits until a moment finds that it has come."""
    while not len(server.turns.timers):
        assert not waits.done()
    client.rules()  # answered behind the call that waits, so that the server's thread is done with that
    server.turns.timers.run(1e12)


def pair(made: Net) -> tuple[NetSocket, NetSocket]:
    """Both ends of a connection."""
    with made.create_server(("127.0.0.1", 0)) as listener:
        near = made.create_connection(listener.getsockname())
        return near, listener.accept()[0]


def test_bytes_go_both_ways_and_the_end_is_seen() -> None:
    with served() as (_, client), opened(client) as made:
        near, far = pair(made)
        near.sendall(b"there")
        assert far.recv(100) == b"there"
        far.sendall(b"and back")
        assert near.recv(3) == b"and"
        assert near.recv(100) == b" back"
        near.shutdown(socket.SHUT_WR)
        assert far.recv(100) == b""
        assert near.getpeername() == far.getsockname()


def test_what_is_not_there_without_waiting_is_a_blocking_error() -> None:
    with served() as (_, client), opened(client) as made:
        near, _far = pair(made)
        near.settimeout(0)
        with pytest.raises(BlockingIOError):
            near.recv(1)


def test_a_receive_waits_for_its_bytes() -> None:
    with served() as (_, client), opened(client) as made:
        near, far = pair(made)
        waits = in_background(near.recv, 10)
        far.sendall(b"late")
        assert waits.result(WAIT) == b"late"


def test_a_full_window_lets_the_sender_wait_until_it_is_read() -> None:
    with served() as (_, client), opened(client) as made:
        near, far = pair(made)
        data = bytes(range(256)) * (3 * WINDOW // 256)
        sends = in_background(near.sendall, data)
        came = b""
        while len(came) < len(data):
            came += far.recv(5000)
        sends.result(WAIT)
        assert came == data


def test_a_send_with_time_takes_all_and_one_without_what_there_is_room_for() -> None:
    with served() as (server, client), opened(client) as made:
        near, far = pair(made)
        assert made.session.send(near.number, 3 * WINDOW, 0, 0) == WINDOW
        assert made.session.send(near.number, 3 * WINDOW, 0, 0) == AGAIN
        waits = in_background(made.session.send, near.number, 3 * WINDOW, 0, 10**15)
        while not len(server.turns.timers):
            assert not waits.done()
        assert len(far.recv(5000)) == 5000
        time_passes(server, client, waits)
        assert waits.result(WAIT) == 5000
        waits = in_background(made.session.send, near.number, 3 * WINDOW, 0, FOREVER)
        came = 0
        while came < 4 * WINDOW:
            came += len(far.recv(5000))
        assert waits.result(WAIT) == 3 * WINDOW


def test_a_wait_ends_when_its_time_is_over() -> None:
    with served() as (server, client), opened(client) as made:
        near, _far = pair(made)
        waits = in_background(made.session.receive, near.number, 10, 0, 10**15)
        time_passes(server, client, waits)
        assert waits.result(WAIT) == AGAIN


def test_nobody_listening_is_refused() -> None:
    with served() as (_, client), opened(client) as made, pytest.raises(ConnectionRefusedError):
        made.create_connection(("127.0.0.1", 9))


def test_a_port_is_given_once() -> None:
    with served() as (_, client), opened(client) as made, made.create_server(("", 80)):
        with pytest.raises(OSError, match="port 80 is taken") as caught:
            made.create_server(("", 80))
        assert caught.value.errno == errno.EADDRINUSE


def test_datagrams_keep_their_bounds_and_their_senders() -> None:
    with served() as (_, client), opened(client) as made:
        one, other = (made.socket(type=socket.SOCK_DGRAM) for _ in range(2))
        one.bind(("", 7))
        other.sendto(b"first", ("127.0.0.1", 7))
        other.sendto(b"second", ("127.0.0.1", 7))
        assert one.recvfrom(3)[0] == b"fir"
        data, sender = one.recvfrom(100)
        assert data == b"second"
        one.sendto(b"answer", sender)
        assert other.recvfrom(100) == (b"answer", ("127.0.0.1", 7))


def test_who_is_heard_again_may_be_answered_however_many_come_between() -> None:
    with served(test="listen udp 7, connect udp 127.0.0.1:7") as (_, client), opened(client, 20) as made:
        one, first, *others = (made.socket(type=socket.SOCK_DGRAM) for _ in range(MOST_HEARD // 2 + 2))
        one.bind(("", 7))
        for sender in (first, *others, first):
            sender.sendto(b"", ("127.0.0.1", 7))
            place = one.recvfrom(1)[1]
        for sender in others:
            sender.close()
        for _ in range(MOST_HEARD - len(others)):
            with made.socket(type=socket.SOCK_DGRAM) as sender:
                sender.sendto(b"", ("127.0.0.1", 7))
                one.recvfrom(1)
        one.sendto(b"answer", place)
        assert first.recvfrom(100)[0] == b"answer"


def test_an_answer_whose_receiver_is_heard_again_while_it_is_refused_is_lost_and_no_error() -> None:
    with served() as (_, client), opened(client) as made, made.socket(type=socket.SOCK_DGRAM) as sock:
        place, now = ("127.0.0.1", 7), made.life
        sock._note_heard(place, now.generation - 1)

        def refuse(act: object) -> bool:
            sock._note_heard(place, now.generation)  # by another thread
            raise PermissionError

        sock._ask = refuse  # type: ignore[method-assign, assignment]
        assert sock.sendto(b"answer", place) == 6
        for unheard in (place, ("127.0.0.1", 8)):  # the first one by this session itself
            with pytest.raises(PermissionError):
                sock.sendto(b"answer", unheard)
        del sock._ask  # type: ignore[method-assign]


def test_a_session_that_cannot_be_had_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a server that refuses, and of one that dies again and again between the two calls that it takes."""
    task, attach = current_task, Network.attach

    def left() -> tuple[int, int]:
        return task().memory.statistics().free_bytes, task().slots.free_count

    def refuse(*_: object) -> None:
        raise net.TooManySockets("no room for the buffer")

    deaths = 0

    def die(self: Network, memory: SharedMemory) -> None:
        nonlocal deaths
        if deaths:
            deaths -= 1
            raise ServerDied("again")
        attach(self, memory)

    def be_refused(client: Network) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(Network, "attach", refuse)
            for _ in range(4):
                with pytest.raises(OSError, match="no room"):
                    Net(client, pool_bits=18, windows=2)
        with opened(client):  # the server finds out that the last one is over
            pass

    with served() as (_, client):
        for _ in range(2):  # what is allocated once, too: by what the server is told of deaths
            be_refused(client)
        before = left()
        be_refused(client)
        assert left() == before
        with opened(client) as made:
            before, deaths = left(), 20
            task().cnode.revoke(made._pool.cptr)
            monkeypatch.setattr(Network, "attach", die)
            assert made.renew(0)
            memory, slots = left()
            assert (deaths, memory) == (0, before[0])
            assert before[1] - slots <= DEATH_BITS


def test_a_call_that_another_thread_is_about_to_make_by_a_former_session_meets_nothing_else() -> None:
    """The slot of that session's capability is given out again when nobody has its client any more."""
    with served() as (_, client), opened(client) as made:
        task = current_task()
        asked, taken = [], []

        def lookup(session: Network) -> list[str]:
            asked.append(session)
            if len(asked) == 1:  # another thread finds out meanwhile, and what this task gets takes each free slot
                task.cnode.revoke(made._pool.cptr)
                assert made.renew(0)
                taken.extend(Bell.allocate() for _ in range(20))
            return session.lookup("here.example", 0)

        assert made.ask(lookup) == ["127.0.0.1"]
        assert [each is made.session for each in asked] == [False, True]
        former = endpoint_of(asked.pop(0)).cptr
        assert task.slots.is_free(former)
        for each in taken:
            each.close()


def test_a_server_that_was_given_up_is_a_network_that_is_down_until_there_is_another() -> None:
    """Its endpoint goes, and with it all capabilities; the connection of the description leads to another one."""
    with served() as (_, client), opened(client) as made:
        listener = made.create_server(("127.0.0.1", 80))
        near = made.create_connection(("127.0.0.1", 80))
        former, task = endpoint_of(client), current_task()
        kept = task.slots.allocate()
        task.cnode.move(kept, task.cnode, former.cptr)
        task.cnode.delete(endpoint_of(made.session).cptr)
        for act in (lambda: near.send(b"x"), lambda: listener.accept(), lambda: made.lookup("x"), made.interfaces):
            with pytest.raises(OSError, match="gone") as down:
                act()
            assert down.value.errno == errno.ENETDOWN
        task.cnode.move(former.cptr, task.cnode, kept)
        assert made.lookup("here.example") == ["127.0.0.1"]
        with pytest.raises(ConnectionResetError):
            near.send(b"x")
        assert made.create_connection(listener.getsockname())


def test_names_and_echoes() -> None:
    with served() as (server, client), opened(client) as made:
        assert made.lookup("here.example") == ["127.0.0.1"]
        assert made.lookup("10.1.2.3") == ["10.1.2.3"]
        with pytest.raises(socket.gaierror):
            made.lookup("nowhere.example")
        assert made.ping("127.0.0.1") is not None
        server.stack.answers_pings = False
        late = in_background(made.ping, "127.0.0.1", 56, 1e6)
        time_passes(server, client, late)
        assert late.result(WAIT) is None


def test_an_echo_is_not_waited_for_without_end() -> None:
    """Whoever asks may have ended long ago; so that client's next life would hear of no names or echoes any more."""
    with served() as (server, client), opened(client) as made:
        server.stack.answers_pings = False
        asked = [in_background(made.ping, "127.0.0.1", 56, None) for _ in range(questions.MOST_OF_ONE)]
        while server._questions._open.total() < questions.MOST_OF_ONE:
            client.rules()
        with pytest.raises(OSError, match="waits for 8 answers"):
            made.lookup("here.example")
        assert len(server.turns.timers) == questions.MOST_OF_ONE
        time_passes(server, client, asked[0])
        assert [each.result(WAIT) for each in asked] == [None] * questions.MOST_OF_ONE
        assert made.lookup("here.example") == ["127.0.0.1"]


def test_a_name_that_its_client_has_given_up_counts_while_the_stack_asks_for_it() -> None:
    """The stack has room for so many names: who gave them up early, again and again, took it from all others."""
    with served() as (server, client), opened(client) as made:
        for _ in range(questions.MOST_OF_ONE):
            late = in_background(made.lookup, "silent.example", 1e6)
            time_passes(server, client, late)
            with pytest.raises(socket.gaierror):
                late.result(WAIT)
        with pytest.raises(OSError, match="waits for 8 answers"):
            made.lookup("silent.example", 1e6)
        assert len(server.stack.asked) == questions.MOST_OF_ONE
        server.stack.asked.pop()(net.NameUnknown("nobody knows silent.example"))
        assert made.lookup("here.example") == ["127.0.0.1"]


def test_an_http_client_and_server_need_only_their_sockets_made() -> None:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.path.encode() * 3000
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    class Connection(http.client.HTTPConnection):
        def connect(self) -> None:
            self.sock = made.create_connection((self.host, self.port))

    def serve(listener: NetSocket) -> None:
        accepted, peer = listener.accept()
        with accepted:
            Handler(accepted, peer, None)  # type: ignore[arg-type]  # a socket's like

    with served() as (_, client), opened(client, 19) as made, made.create_server(("", 80)) as listener:
        serves = in_background(serve, listener)
        connection = Connection("127.0.0.1", 80)
        connection.request("GET", "/a/page")
        response = connection.getresponse()
        assert response.status == 200
        assert response.read() == b"/a/page" * 3000
        serves.result(WAIT)
        connection.close()


# --- what is told of many sockets


def test_what_was_armed_is_told_once() -> None:
    with served() as (_, client), opened(client) as made:
        near, far = pair(made)
        session = made.session
        session.arm(near.number, Events.READABLE)
        assert session.ready() == []
        far.sendall(b"x")
        far.sendall(b"y")
        assert [(each.socket, each.events) for each in session.ready()] == [(near.number, Events.READABLE)]
        assert session.ready() == []


def test_what_is_there_already_is_told_when_it_is_armed() -> None:
    with served() as (_, client), opened(client) as made:
        near, _far = pair(made)
        made.session.arm(near.number, Events.WRITABLE | Events.READABLE)
        assert [each.events for each in made.session.ready()] == [Events.WRITABLE]


# --- authority


def test_what_no_rule_permits_is_refused() -> None:
    with served(test="connect tcp 127.0.0.0/8:80, listen tcp 80") as (_, client), opened(client) as made:
        listener = made.create_server(("", 80))
        with listener:
            made.create_connection(("127.0.0.1", 80)).close()
            for refused in (
                lambda: made.create_connection(("127.0.0.1", 81)),
                lambda: made.create_connection(("10.0.0.1", 80)),
                lambda: made.create_server(("", 81)),
                lambda: made.create_server(("", 0)),
                lambda: made.socket(type=socket.SOCK_DGRAM).sendto(b"", ("127.0.0.1", 80)),
                lambda: made.ping("127.0.0.1"),
            ):
                with pytest.raises(PermissionError):
                    refused()


def test_a_name_needs_its_rule() -> None:
    with served(test="connect tcp *") as (_, client), opened(client) as made, pytest.raises(PermissionError):
        made.lookup("here.example")


@pytest.mark.parametrize("name", ["a" * 64 + ".example", "a..example", ".example", ".", "example.."])
def test_a_name_that_no_question_can_hold_is_refused_at_once(name: str) -> None:
    with served(test="resolve") as (_, client), opened(client) as made:
        with pytest.raises(net.BadAddress):
            made.session.lookup(name, 0)
        with pytest.raises(net.NameUnknown):
            made.session.lookup("a" * 63 + ".example", 0)


def test_who_has_no_rules_may_do_nothing() -> None:
    with served(other="all") as (_, client), opened(client) as made, pytest.raises(PermissionError):
        made.create_server(("", 80))


def test_an_ipv4_address_in_the_clothes_of_ipv6_is_none() -> None:
    with served(test="connect tcp [::]/0") as (_, client), opened(client) as made:
        number = made.socket(socket.AF_INET6).number
        with pytest.raises(net.BadAddress):
            made.session.connect(number, "::ffff:10.0.0.1", 80, 0)


def test_a_narrowed_capability_may_do_what_both_permit() -> None:
    with served(test="connect tcp 127.0.0.0/8:1-100, listen tcp 1-100") as (_, client):
        narrowed = Network(client.narrow(["connect tcp *:50-200", "listen tcp 60"]))
        with opened(narrowed) as made:
            with made.create_server(("", 60)):
                made.create_connection(("127.0.0.1", 60)).close()
            for port in (150, 40):
                with pytest.raises(PermissionError):
                    made.create_connection(("127.0.0.1", port))
            with pytest.raises(PermissionError):
                made.create_server(("", 50))
        assert narrowed.rules()[0] == "connect tcp 127.0.0.0/8:1-100"
        assert "also listen tcp 60" in narrowed.rules()


def test_narrowing_alike_gives_the_same_and_without_end_is_refused() -> None:
    with served() as (server, client):
        client.narrow(["resolve"])
        before = len(server._by_badge)
        client.narrow(["resolve"])
        assert len(server._by_badge) == before
        each = client
        for number in range(1, MOST_LAYERS):
            each = Network(each.narrow([f"listen tcp {number}"]))
        with pytest.raises(net.NotPermitted):
            each.narrow(["listen tcp 99"])


@pytest.mark.parametrize(
    "rule", ["connect", "connect icmp *", "listen tcp 0", "listen tcp 9-3", "ping 1.2.3", "x" * 200]
)
def test_what_is_no_rule_is_said_to_be_none(rule: str) -> None:
    with served() as (_, client), pytest.raises(net.BadAddress):
        client.narrow([rule])


# --- what a session costs


def test_a_session_needs_memory_and_sockets_need_more() -> None:
    with served() as (_, client):
        with pytest.raises(NotEnoughMemory):
            client.session(pool(13))
        session = Network(client.session(pool(16)))  # 3 sockets, and a page
        for _ in range(3):
            session.socket(Kind.STREAM, 4)
        with pytest.raises(net.TooManySockets):
            session.socket(Kind.STREAM, 4)


def test_memory_that_is_taken_back_ends_the_session_and_its_connections() -> None:
    with served() as (_, client), opened(client) as made:
        lent = pool(18)
        session = Network(client.session(lent))
        with made.create_server(("", 80)) as listener:
            number = session.socket(Kind.STREAM, 4)
            session.connect(number, "127.0.0.1", 80, FOREVER)
            far = listener.accept()[0]
            current_task().cnode.revoke(lent.cptr)
            with pytest.raises(net.StaleSocket):
                session.socket(Kind.STREAM, 4)
            with pytest.raises(ConnectionResetError):
                far.recv(1)


def test_a_closed_session_is_answered_as_what_is_no_more() -> None:
    with served() as (_, client):
        session = Network(client.session(pool(16)))
        session.close()
        with pytest.raises(net.StaleSocket):
            session.socket(Kind.STREAM, 4)


def test_without_a_session_there_are_no_sockets() -> None:
    with served() as (_, client), pytest.raises(net.NotPermitted):
        client.socket(Kind.STREAM, 4)


def test_a_socket_of_another_session_is_none() -> None:
    with served() as (_, client):
        one, other = Network(client.session(pool(16))), Network(client.session(pool(16)))
        number = one.socket(Kind.STREAM, 4)
        with pytest.raises(net.StaleSocket):
            other.close_socket(number)


def test_bytes_outside_of_the_buffer_are_refused() -> None:
    with served() as (_, client), opened(client) as made:
        near, _far = pair(made)
        for length, at in ((10, 1 << 17), ((1 << 17) + 1, 0), (1, (1 << 64) - 1), ((1 << 64) - 1, 0)):
            with pytest.raises(InvalidMessage):
                made.session.send(near.number, length, at, 0)
            with pytest.raises(InvalidMessage):
                made.session.receive(near.number, length, at, 0)


def test_a_buffer_that_is_taken_back_is_a_stale_one() -> None:
    with served() as (_, client), opened(client) as made:
        near, _far = pair(made)
        with DataSpace.allocate(4096) as space:
            made.session.attach(space.share())
            space.revoke()
            with pytest.raises(net.StaleSocket):
                made.session.send(near.number, 1, 0, 0)


def test_calls_that_wait_are_counted_and_end_with_their_socket() -> None:
    with served() as (_, client), opened(client) as made:
        near, _far = pair(made)
        waits = in_background(made.session.wait, near.number, Events.READABLE, FOREVER)
        made.session.close_socket(near.detach_number())
        with pytest.raises(net.StaleSocket):
            waits.result(WAIT)


def test_more_threads_may_wait_than_there_are_windows() -> None:
    with served() as (_, client), opened(client, 19) as made:
        pairs = [pair(made) for _ in range(4)]
        waits = [in_background(near.recv, 10) for near, _ in pairs]
        for number, (_, far) in enumerate(pairs):
            far.sendall(b"%d" % number)
        assert [each.result(WAIT) for each in waits] == [b"0", b"1", b"2", b"3"]


def test_a_client_that_ended_is_swept() -> None:
    with served() as (server, client), opened(client) as made:
        lent = pool(18)
        session = Network(client.session(lent))
        with made.create_server(("", 80)) as listener:
            session.connect(session.socket(Kind.STREAM, 4), "127.0.0.1", 80, FOREVER)
            far = listener.accept()[0]
            current_task().cnode.revoke(lent.cptr)
            server.sweep()
            with pytest.raises(ConnectionResetError):
                far.recv(1)


def test_a_datagram_may_be_answered_by_who_may_only_listen() -> None:
    with served(test="listen udp 7") as (server, client), opened(client) as made:
        one = made.socket(type=socket.SOCK_DGRAM)
        one.bind(("", 7))
        asker = server.stack.datagrams(4)
        asker.send_to(b"who?", "127.0.0.1", 7)
        _, sender = one.recvfrom(10)
        assert one.sendto(b"me", sender) == 2
        assert asker.recv_from() == (b"me", "127.0.0.1", 7)
        with pytest.raises(PermissionError):
            one.sendto(b"me", (sender[0], sender[1] + 1))


def test_who_may_not_listen_hears_those_alone_to_whom_it_may_send() -> None:
    """Else a port that was bound by itself would let anybody in, and be an answer's way out."""
    with served(test="connect udp 127.0.0.1:50000") as (server, client), opened(client) as made:
        one = made.socket(type=socket.SOCK_DGRAM)
        one.bind(("", 0))
        one.setblocking(False)
        port = one.getsockname()[1]
        stranger, known = server.stack.datagrams(4), server.stack.datagrams(4)
        known.bind("127.0.0.1", 50000)
        stranger.send_to(b"in", "127.0.0.1", port)
        assert made.session.wait(one.number, Events.READABLE, 0) == 0
        for receive in (one.recvfrom, one.recv):
            with pytest.raises(BlockingIOError):
                receive(10)
        with pytest.raises(PermissionError):
            one.sendto(b"out", stranger.local)
        stranger.send_to(b"in", "127.0.0.1", port)
        known.send_to(b"answer", "127.0.0.1", port)
        assert made.session.wait(one.number, Events.READABLE, 0) == Events.READABLE
        assert one.recvfrom(10) == (b"answer", ("127.0.0.1", 50000))


def test_what_is_closed_does_not_wake_who_waits_to_write() -> None:
    with served() as (_, client), opened(client) as made:
        near, far = pair(made)
        far.shutdown(socket.SHUT_WR)
        near.setblocking(False)
        with pytest.raises(BlockingIOError):
            near.sendall(bytes(2 * WINDOW))
        made.session.arm(near.number, Events.WRITABLE)
        assert made.session.ready() == []


# --- a socket that is handed on


def test_a_socket_can_be_handed_on() -> None:
    with served() as (_, client), opened(client) as made:
        near, far = pair(made)
        handed = Socket(made.session.hand_on(near.number))
        assert handed.send(b"by hand", FOREVER) == 7
        assert far.recv(100) == b"by hand"
        assert handed.receive(10, 0) is None
        far.sendall(b"back")
        assert handed.receive(10, FOREVER) == b"back"
        near.close()
        with pytest.raises(net.StaleSocket):
            handed.send(b"", 0)


def test_datagrams_to_an_address_of_the_other_version_are_refused() -> None:
    with served() as (_, client), opened(client) as made:
        number = made.session.socket(Kind.DATAGRAM, 4)
        with pytest.raises(net.BadAddress):
            made.session.send_to(number, 1, 0, Address("::1", 9))
