"""Answers `Network`: policies, sessions and sockets over a TCP/IP stack.

Settings: ``clients = { shell = "connect tcp 10.0.2.0/24:80, resolve" }`` says who may do what (`rules`), and without
it every client may do everything. ``sessions`` is how many there may be at once (256), of one client half of
them.

Rules. Who calls is known by badge alone, and what it may do by the badge's grant: no request names authority. Nothing
is done before it is permitted. All runs in one thread. What a client makes the server keep is counted.
"""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from libsel4py.badges import Badges
from libsel4py.capabilities import Endpoint, Notification, Untyped
from libsel4py.context import Caller
from libsel4py.dataspace import SharedMemory
from libsel4py.errors import InvalidMessage, KernelError
from libsel4py.interfaces.network import (
    AGAIN,
    LEAST_POOL_BITS,
    MOST_BACKLOG,
    MOST_DATAGRAM,
    Accepted,
    Address,
    BadAddress,
    Datagram,
    Events,
    InterfaceState,
    Kind,
    Network,
    NotPermitted,
    Ready,
    Shut,
    Socket,
    StaleSocket,
    TooLong,
    TooManySockets,
)
from libsel4py.life import Life
from libsel4py.lowlevel.cspace import OutOfSlots
from libsel4py.lowlevel.machine import Words
from libsel4py.lowlevel.vspace import OutOfAddresses
from libsel4py.session import Session, Sessions, TooManySessions
from libsel4py.slot_shares import OF_A_CLIENT, SlotShares
from libsel4py.wire import put_failure
from servers.network.grants import MOST_NARROWED, SESSIONS_OF_A_GRANT, Grant, Grants
from servers.network.questions import Questions
from servers.network.rules import (
    EVERYTHING,
    MOST_PORT,
    NOTHING,
    IPAddress,
    Verb,
    address,
    is_address,
    policies_of_description,
    rules_of,
)
from servers.network.sending import Sending
from servers.network.sessions import NetworkSession
from servers.network.socket_service import SocketService
from servers.network.sockets import Attempt, NetSocket, ensure_sends
from servers.network.turns import Turns, moment, wait_for

if TYPE_CHECKING:
    from servers.network.protocols import SocketStack

ANY_HOST: Final = {4: "0.0.0.0", 6: "::"}
MOST_SESSIONS: Final = 256
MOST_DEFERRED: Final = 1024  # of all clients
_ALL_EVENTS: Final = Events.READABLE | Events.WRITABLE | Events.ERROR | Events.CLOSED
Texts = list[str]
AllReady = list[Ready]
InterfaceStates = list[InterfaceState]


class NetworkServer(Network):
    """Serves one stack."""

    def serve_stack(self, stack: SocketStack, turns: Turns) -> None:
        """Begin; to be called in ``start()``. Raises ValueError: a setting is wrong."""
        settings = self.task.environment.configuration
        most = int(settings.get("sessions", MOST_SESSIONS))  # type: ignore[arg-type]  # a wrong type is a TypeError
        self._life = Life(self.task)
        self._stack = stack
        self._turns = turns
        self._timers = turns.timers
        self._grants = Grants()
        self._by_badge = self._grants.by_badge
        self._badges = Badges(self.server.endpoint, self.task)
        self._described = policies_of_description(settings)
        self._questions = Questions(stack, turns)
        self._sessions: Sessions[NetworkSession] = Sessions(
            self.task,
            slots=1,
            least_bits=LEAST_POOL_BITS,
            per_client=max(1, most // 2),
            most=most,
            client_of=lambda caller: caller.name,
        )
        self._slots = SlotShares(self.task, "buffers")
        self._waiting: Counter[str] = Counter()
        self.server.allow_deferred(MOST_DEFERRED)
        self._handed_on = SocketService(self.server, turns)
        self.server.provide(self._handed_on, Socket)

    # --- who calls

    def _grant(self) -> Grant:
        """The caller's grant, if it is alive. Raises StaleSocket."""
        caller = self.caller
        grant = self._by_badge.get(caller.badge)
        if grant is None:
            grant = self._connected(caller)
        if grant.session is not None:
            grant.session.ensure_alive()
        return grant

    def _connected(self, caller: Caller) -> Grant:
        """The grant of a connection of the description, made at its first request."""
        policy = EVERYTHING if self._described is None else self._described.get(caller.name, NOTHING)
        grant = Grant(policy, caller.name)
        self._grants.add(caller.badge, grant)
        return grant

    def _in_session(self) -> tuple[Grant, NetworkSession]:
        grant = self._grant()
        if grant.session is None or not grant.is_session:
            raise NotPermitted("this needs a session: session(pool) gives a capability that has one")
        return grant, grant.session

    def _socket(self, number: int) -> NetSocket:
        return self._in_session()[1].find(number)

    def on_stranger(self, badge: int, label: int, words: tuple[int, ...]) -> Words | None:
        """A capability of what there is no more."""
        return put_failure(StaleSocket("what this capability stood for was closed, or its session is over"), ())

    # --- sessions

    def session(self, pool: Untyped) -> Endpoint:
        origin = self._grant()
        self._ensure_slots(origin.owner)
        if origin.sessions >= SESSIONS_OF_A_GRANT:
            self._sessions.sweep()
        if origin.sessions >= SESSIONS_OF_A_GRANT:
            raise TooManySockets(f"this capability has {origin.sessions} sessions: close one")
        badge = self._badges.new()
        try:
            self._sessions.open(pool, lambda lent: self._begin(lent, origin, badge))
        except (TooManySessions, OutOfSlots, OutOfAddresses) as error:
            raise TooManySockets(str(error)) from error
        return self._badges.directory(badge)

    def _begin(self, lent: Session[NetworkSession], origin: Grant, badge: int) -> NetworkSession:
        made = NetworkSession(
            lent,
            lambda: self._sessions.end(lent),
            self.task,
            origin,
            self._timers,
            self._turns.changed,
            self._dropped,
            self._waiting,
        )
        self._grants.add(badge, Grant(origin.policy, origin.owner, made, is_session=True))
        self.server.add_client(badge, origin.owner, Network)
        origin.sessions += 1
        lent.at_end(lambda: self._ended(made))
        return made

    def _ended(self, session: NetworkSession) -> None:
        session.origin.sessions -= 1
        for badge in self._grants.of_session(session):
            del self._by_badge[badge]
            self.server.remove_client(badge)

    def sweep(self) -> None:
        """End sessions whose clients have taken their memory back, or have ended. One load for each."""
        for grant in list(self._by_badge.values()):
            if grant.session is not None and grant.is_session:
                with suppress(StaleSocket):
                    grant.session.ensure_alive()

    def _dropped(self, sock: NetSocket) -> None:
        self._turns.dropped(sock)
        self._handed_on.ended(sock)

    def _ensure_slots(self, owner: str) -> None:
        """Raises TooManySockets: the server needs the slots that are left, or the client has its part of them."""
        if self._lacking(owner):
            self._sessions.sweep()
        lacking = self._lacking(owner)
        if lacking:
            raise TooManySockets(lacking)

    def _lacking(self, owner: str) -> str:
        """Why there are no slots for this client; "" if there are."""
        grants = [each for each in self._by_badge.values() if each.is_session and each.owner == owner]
        sessions = [each.session for each in grants if each.session is not None]
        return self._slots.lacking((sessions, OF_A_CLIENT))

    def attach(self, memory: SharedMemory) -> None:
        grant, session = self._in_session()
        self._ensure_slots(grant.owner)
        try:
            session.attach(memory)
        except (KernelError, OutOfSlots, OutOfAddresses) as error:
            raise TooManySockets(f"there is no room for the buffer: {error}") from error

    def close(self) -> None:
        self._in_session()[1].close()
        self._turns.turn()

    # --- policies

    def life(self) -> Endpoint:
        self._grant()
        return self._life.capability

    def narrow(self, rules: Texts) -> Endpoint:
        grant = self._grant()
        policy = grant.policy.narrowed(rules_of(rules))
        wanted = Grant(policy, grant.owner, grant.session, is_narrowed=True)
        made = self._grants.same(wanted)
        if made is None:
            made = self._narrowed(wanted)
        return self._badges.directory(made.badge)

    def _narrowed(self, wanted: Grant) -> Grant:
        if wanted.session is not None:
            wanted.session.ensure_room()
            wanted.session.narrowed += 1
        elif self._grants.count(wanted) >= MOST_NARROWED:
            raise TooManySockets(
                f"{wanted.owner} has {MOST_NARROWED} narrowed capabilities: narrow in a session instead"
            )
        self._grants.add(self._badges.new(), wanted)
        self.server.add_client(wanted.badge, wanted.owner, Network)
        return wanted

    def rules(self) -> Texts:
        return self._grant().policy.texts()

    # --- questions

    def interfaces(self) -> InterfaceStates:
        self._grant()
        return self._stack.interfaces()

    def lookup(self, name: str, time_limit: int) -> Texts:
        grant = self._grant()
        if not is_address(name):
            grant.policy.ensure(Verb.RESOLVE)
        return self._questions.lookup(grant.owner, name, moment(time_limit), self.defer_reply)

    def ping(self, host: str, size: int, time_limit: int) -> int:
        grant = self._grant()
        grant.policy.ensure(Verb.PING, None, address(host))
        return self._questions.ping(grant.owner, host, size, moment(time_limit), self.defer_reply)

    # --- sockets

    def socket(self, kind: int, version: int) -> int:
        grant, session = self._in_session()
        if kind not in (Kind.STREAM, Kind.DATAGRAM) or version not in (4, 6):
            raise InvalidMessage(f"a socket is of Kind 1 or 2 and of IP version 4 or 6, and not {kind} and {version}")
        session.ensure_room()
        raw = self._stack.stream(version) if kind == Kind.STREAM else self._stack.datagrams(version)
        made = session.adopt(Kind(kind), version, raw)
        made.may_hear = lambda host, port: _may_hear(grant, made, host, port)
        return made.number

    def bind(self, socket: int, host: str, port: int) -> int:
        grant, session = self._in_session()
        sock = session.find(socket)
        _ensure_port(port)
        if host:
            _ensure_version(sock, host)
        if port or sock.kind is Kind.STREAM:
            grant.policy.ensure(Verb.LISTEN, sock.transport, None, port)
        sock.raw.bind(host or ANY_HOST[sock.version], port)
        return sock.raw.local[1]

    def listen(self, socket: int, backlog: int) -> None:
        grant, session = self._in_session()
        sock = session.find(socket)
        grant.policy.ensure(Verb.LISTEN, sock.transport, None, sock.raw.local[1])
        sock.stream.listen(max(1, min(backlog, MOST_BACKLOG)))
        sock.listens = True

    def accept(self, socket: int, time_limit: int) -> Accepted:
        sock = self._socket(socket)
        if not sock.listens:
            raise InvalidMessage("this socket does not listen: listen() first")
        sock.session.ensure_room()
        late = Accepted(AGAIN, Address("", 0))
        return self._wait(sock, sock.try_accept, late, time_limit)  # type: ignore[return-value]  # what it accepts

    def connect(self, socket: int, host: str, port: int, time_limit: int) -> bool:
        grant, session = self._in_session()
        sock = session.find(socket)
        _ensure_port(port, least=1)
        grant.policy.ensure(Verb.CONNECT, sock.transport, _ensure_version(sock, host), port)
        if sock.raw.error is not None:
            raise sock.raw.error
        sock.raw.connect(host, port)
        self._turns.turn()
        return self._wait(sock, sock.try_connected, False, time_limit)  # type: ignore[return-value]  # True

    def send(self, socket: int, length: int, at: int, time_limit: int) -> int:
        session = self._in_session()[1]
        sock = session.find(socket)
        session.buffer(length, at)
        ensure_sends(sock)
        if sock.kind is Kind.STREAM:
            sending = Sending(sock, length, at)
            return self._waiting_for(sock, sending.attempt, sending.so_far, time_limit)  # type: ignore[return-value]  # int
        data = session.get(length, at)
        return self._wait(sock, lambda: sock.try_send(data), AGAIN, time_limit)  # type: ignore[return-value]  # int

    def receive(self, socket: int, length: int, at: int, time_limit: int) -> int:
        session = self._in_session()[1]
        sock = session.find(socket)
        mapping = session.buffer(length, at)
        data = sock.try_receive(length)
        if data is None:
            attempt = lambda: sock.try_receive_to(mapping, at, length)  # noqa: E731  # it is made again
            return self._wait(sock, attempt, AGAIN, time_limit)  # type: ignore[return-value]  # int
        session.put(mapping, at, data)
        self._turns.turn()
        return len(data)

    def send_to(self, socket: int, length: int, at: int, to: Address) -> bool:
        grant, session = self._in_session()
        sock = session.find(socket)
        if length > MOST_DATAGRAM:
            raise TooLong(f"a datagram has at most {MOST_DATAGRAM} bytes, and not {length}")
        _ensure_port(to.port, least=1)
        host = _ensure_version(sock, to.host)
        if (str(host), to.port) not in sock.heard:
            grant.policy.ensure(Verb.CONNECT, sock.transport, host, to.port)
        sent = sock.datagrams.send_to(session.get(length, at), to.host, to.port)
        self._turns.turn()
        return bool(sent) or not length

    def receive_from(self, socket: int, length: int, at: int, time_limit: int) -> Datagram:
        session = self._in_session()[1]
        sock = session.find(socket)
        mapping = session.buffer(length, at)
        late = Datagram(AGAIN, Address("", 0))
        attempt = lambda: sock.try_receive_from(mapping, at, length)  # noqa: E731  # it is made again
        return self._wait(sock, attempt, late, time_limit)  # type: ignore[return-value]  # a Datagram

    def wait(self, socket: int, events: int, time_limit: int) -> int:
        sock = self._socket(socket)
        wanted = _events(events)
        return self._wait(sock, lambda: sock.try_wait(wanted), 0, time_limit)  # type: ignore[return-value]  # int

    def ends(self, socket: int) -> tuple[Address, Address]:
        raw = self._socket(socket).raw
        return Address(*raw.local), Address(*raw.peer)

    def shutdown(self, socket: int, how: int) -> None:
        sock = self._socket(socket)
        sock.stream.shutdown(bool(how & Shut.RECEIVE), bool(how & Shut.SEND))
        self._turns.turn()

    def set_prompt(self, socket: int, prompt: bool) -> None:
        self._socket(socket).stream.set_prompt(prompt)

    def close_socket(self, socket: int) -> None:
        session = self._in_session()[1]
        session.drop(session.find(socket))
        self._turns.turn()

    def hand_on(self, socket: int) -> Endpoint:
        sock = self._socket(socket)
        if not sock.badge:
            self._handed_on.add(self._badges.new(), sock)
        return self._badges.file(sock.badge)

    # --- many at once

    def watch(self, wake: Notification) -> None:
        grant, session = self._in_session()
        self._ensure_slots(grant.owner)
        session.watch(wake)

    def arm(self, socket: int, events: int) -> None:
        self._socket(socket).arm(_events(events))

    def ready(self) -> AllReady:
        return self._in_session()[1].take_ready()

    def _wait(self, sock: NetSocket, attempt: Attempt, late: object, time_limit: int) -> object:
        return self._waiting_for(sock, attempt, lambda: late, time_limit)

    def _waiting_for(self, sock: NetSocket, attempt: Attempt, late: Attempt, time_limit: int) -> object:
        return wait_for(sock, attempt, late, time_limit, self._turns, self.defer_reply)


def _may_hear(grant: Grant, sock: NetSocket, host: str, port: int) -> bool:
    """Whether datagrams may come from there: to a port where one may listen, or as answers."""
    permits = grant.policy.permits
    if permits(Verb.LISTEN, sock.transport, None, sock.raw.local[1]):
        return True
    try:
        return permits(Verb.CONNECT, sock.transport, address(host), port)
    except BadAddress:
        return False


def _ensure_port(port: int, least: int = 0) -> None:
    if not least <= port <= MOST_PORT:
        raise BadAddress(f"a port is {least} to {MOST_PORT}, and not {port}")


def _ensure_version(sock: NetSocket, host: str) -> IPAddress:
    found = address(host)
    if found.version != sock.version:
        raise BadAddress(f"the socket is for IPv{sock.version}, and {host} is of IPv{found.version}")
    return found


def _events(events: int) -> Events:
    if events & ~int(_ALL_EVENTS):
        raise InvalidMessage(f"{events:#x} are no Events")
    return Events(events)
