"""What a client may do on the network: rules, each of which permits something, and policies made of them.

Rules: what no rule permits is refused. A policy that is narrowed only gains a layer, and each layer has to permit: so
nothing that a client says can widen what it has. Addresses are compared as numbers, never as texts; an IPv4 address in
the clothes of IPv6 is none.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from libsel4py.environment import Value
from libsel4py.interfaces.network import MOST_RULE_BYTES, MOST_RULES, BadAddress, NotPermitted

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network
MOST_LAYERS: Final = 8
MOST_PORT: Final = 65535


class Verb(Enum):
    """What a rule is about."""

    CONNECT = "connect"
    LISTEN = "listen"
    RESOLVE = "resolve"
    PING = "ping"
    ALL = "all"


class Transport(Enum):
    """Whose ports are meant."""

    TCP = "tcp"
    UDP = "udp"


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. ``prefix`` None is any address; ports ``first`` to ``last`` are both meant."""

    verb: Verb
    transport: Transport | None = None
    prefix: IPNetwork | None = None
    first: int = 0
    last: int = MOST_PORT

    def permits(self, verb: Verb, transport: Transport | None, host: IPAddress | None, port: int) -> bool:
        """Whether this is among what the rule permits."""
        if self.verb is Verb.ALL:
            return True
        if verb is not self.verb or transport is not self.transport or not self.first <= port <= self.last:
            return False
        return self.prefix is None or (host is not None and host in self.prefix)

    def __str__(self) -> str:
        ports = "*" if (self.first, self.last) == (0, MOST_PORT) else f"{self.first}-{self.last}"
        ports = str(self.first) if self.first == self.last else ports
        prefix = "*" if self.prefix is None else str(self.prefix)
        match self.verb:
            case Verb.CONNECT if self.transport is not None:
                place = f"[{prefix.replace('/', ']/', 1)}" if ":" in prefix else prefix
                return f"connect {self.transport.value} {place}:{ports}"
            case Verb.LISTEN if self.transport is not None:
                return f"listen {self.transport.value} {ports}"
            case Verb.PING:
                return f"ping {prefix}"
        return str(self.verb.value)


@dataclass(frozen=True, slots=True)
class Policy:
    """Layers of rules: what is done must be permitted by one rule of each."""

    layers: tuple[tuple[Rule, ...], ...]

    def permits(
        self, verb: Verb, transport: Transport | None = None, host: IPAddress | None = None, port: int = 0
    ) -> bool:
        """Whether it may be done."""
        return all(any(rule.permits(verb, transport, host, port) for rule in layer) for layer in self.layers)

    def ensure(
        self, verb: Verb, transport: Transport | None = None, host: IPAddress | None = None, port: int = 0
    ) -> None:
        """Raises NotPermitted."""
        if not self.permits(verb, transport, host, port):
            words = [verb.value, *([transport.value] if transport else []), *([str(host)] if host else [])]
            if transport is not None:
                words.append(f"port {port}")
            raise NotPermitted(f"no rule permits: {' '.join(words)}")

    def narrowed(self, rules: Iterable[Rule]) -> Policy:
        """This policy, and these rules as well. Raises NotPermitted: it was narrowed too often."""
        layer = tuple(rules)
        if layer in self.layers:
            return self
        if len(self.layers) >= MOST_LAYERS:
            raise NotPermitted(f"a capability can be narrowed {MOST_LAYERS - 1} times, one after the other, at most")
        return Policy((*self.layers, layer))

    def texts(self) -> list[str]:
        """As `Network.rules` tells it."""
        first, *others = self.layers
        return [str(rule) for rule in first] + [f"also {rule}" for layer in others for rule in layer]


EVERYTHING: Final = Policy(((Rule(Verb.ALL),),))
NOTHING: Final = Policy(((),))


def address(text: str) -> IPAddress:
    """An address that a client names. Raises BadAddress."""
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        raise BadAddress(f"{text[:60]!r} is no IPv4 or IPv6 address; lookup makes addresses of names") from None
    if found.version == 6 and found.ipv4_mapped is not None:
        raise BadAddress(f"{text!r} is an IPv4 address: write it as one")
    return found


def is_address(text: str) -> bool:
    """Whether a text is an address rather than a name."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def rules_of(texts: list[str]) -> tuple[Rule, ...]:
    """Rules that a client gives. Raises BadAddress."""
    if len(texts) > MOST_RULES:
        raise BadAddress(f"{len(texts)} rules are more than {MOST_RULES}")
    try:
        return tuple(parse_rule(text) for text in texts)
    except ValueError as error:
        raise BadAddress(str(error)) from error


def parse_rule(text: str) -> Rule:
    """A rule as it is written. Raises ValueError with what would have been right."""
    if len(text) > MOST_RULE_BYTES:
        raise ValueError(f"a rule has at most {MOST_RULE_BYTES} letters: {text[:40]!r}…")
    try:
        match text.split():
            case ["all"]:
                return Rule(Verb.ALL)
            case ["resolve"]:
                return Rule(Verb.RESOLVE)
            case ["ping"]:
                return Rule(Verb.PING)
            case ["ping", prefix]:
                return Rule(Verb.PING, prefix=_prefix(prefix))
            case ["listen", transport, ports]:
                return Rule(Verb.LISTEN, Transport(transport), None, *_ports(ports))
            case ["connect", transport, place]:
                prefix, ports = _split(place)
                return Rule(Verb.CONNECT, Transport(transport), _prefix(prefix), *_ports(ports))
    except ValueError as error:
        raise ValueError(f"rule {text!r}: {error}") from error
    raise ValueError(
        f'rule {text!r}: a rule is "connect tcp PREFIX:PORTS", "connect udp PREFIX:PORTS", "listen tcp PORTS", '
        '"listen udp PORTS", "resolve", "ping PREFIX" or "all"'
    )


def policies_of_description(configuration: Mapping[str, Value]) -> dict[str, Policy] | None:
    """Policies by client, from ``clients = { shell = "connect tcp 10.0.2.0/24:80, resolve" }``; None: no such setting.

    The rules of a client are one text, with commas (or a list, where the description can say that).

    Raises:
        ValueError: an entry is not so written.
    """
    given = configuration.get("clients")
    if given is None:
        return None
    if not isinstance(given, dict):
        raise ValueError('clients is a table: clients = { shell = "connect tcp *:80, resolve" }')
    return {name: _described(name, value) for name, value in given.items()}


def _described(name: str, value: object) -> Policy:
    texts = value if isinstance(value, list) else str(value).split(",")
    try:
        return Policy((tuple(parse_rule(str(text).strip()) for text in texts if str(text).strip()),))
    except ValueError as error:
        raise ValueError(f"clients.{name}: {error}") from error


def _split(place: str) -> tuple[str, str]:
    """Prefix and ports: 10.0.0.0/8:80, [fd00::]/8:80, [fd00::1]:80, *:80; without ports all are meant."""
    if place.startswith("["):
        host, _, rest = place[1:].partition("]")
        length, _, ports = rest.partition(":")
        return host + length, ports or "*"
    host, _, ports = place.partition(":")
    return host, ports or "*"


def _prefix(text: str) -> IPNetwork | None:
    return None if text == "*" else ipaddress.ip_network(text.replace("[", "").replace("]", ""))


def _ports(text: str) -> tuple[int, int]:
    if text == "*":
        return 0, MOST_PORT
    first, dash, last = text.partition("-")
    low, high = int(first), int(last if dash else first)
    if not 0 < low <= high <= MOST_PORT:
        raise ValueError(f"ports are 1 to {MOST_PORT}, as 80 or 8000-8099, and not {text}")
    return low, high
