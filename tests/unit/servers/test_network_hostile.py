"""A client of the network server that sends whatever it likes: clean errors, and nothing lost for the others."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

from libsel4py.dataspace import NotADataSpace
from libsel4py.errors import InvalidMessage
from libsel4py.interface import endpoint_of
from libsel4py.interfaces.network import FOREVER, Address, Network, NetworkError, Socket
from libsel4py.lowlevel.syscalls import Message
from libsel4py.wire import CONTINUE, IDENTIFY, Outcome
from tests.unit.servers.test_network import opened, pair, served

ROUNDS: Final = 4000
WAITING: Final = ("lookup", "ping")  # the test's thread would wait for ever
TEXTS: Final = ("", "127.0.0.1", "::1", "::ffff:1.2.3.4", "1.2.3", "x" * 300, "\0", "10.0.0.1", "é")
NUMBERS: Final = (0, 1, 2, 3, 4, 6, 7, 80, 65535, 65536, 1 << 20, (1 << 30) - 1, FOREVER)


def test_calls_with_any_arguments_end_in_clean_errors() -> None:
    chooser = random.Random(5)
    with served() as (_, client), opened(client, 19) as made:
        session = made.session

        def number() -> int:
            return chooser.choice(NUMBERS) if chooser.random() < 0.5 else chooser.randrange(40)

        def text() -> str:
            return chooser.choice(TEXTS)

        calls: dict[str, Callable[[], object]] = {
            "socket": lambda: session.socket(number(), number()),
            "usual socket": lambda: session.socket(chooser.choice((1, 2)), chooser.choice((4, 6))),
            "bind": lambda: session.bind(number(), text(), number()),
            "listen": lambda: session.listen(number(), number()),
            "accept": lambda: session.accept(number(), 0),
            "connect": lambda: session.connect(number(), text(), number(), 0),
            "send": lambda: session.send(number(), number(), number(), 0),
            "receive": lambda: session.receive(number(), number(), number(), 0),
            "send_to": lambda: session.send_to(number(), number(), number(), Address(text(), number())),
            "receive_from": lambda: session.receive_from(number(), number(), number(), 0),
            "wait": lambda: session.wait(number(), number(), 0),
            "ends": lambda: session.ends(number()),
            "shutdown": lambda: session.shutdown(number(), number()),
            "set_prompt": lambda: session.set_prompt(number(), True),
            "close_socket": lambda: session.close_socket(number()),
            "arm": lambda: session.arm(number(), number()),
            "ready": session.ready,
            "narrow": lambda: session.narrow([text(), "resolve"][number() % 2 :]),
        }
        refused = 0
        for _ in range(ROUNDS):
            try:
                calls[chooser.choice(list(calls))]()
            except (NetworkError, InvalidMessage, NotADataSpace):
                refused += 1
        assert 0 < refused < ROUNDS
        with opened(client, 17) as other:
            near, far = pair(other)
            near.sendall(b"still there")
            assert far.recv(100) == b"still there"


def test_random_messages_end_in_answers() -> None:
    chooser = random.Random(7)
    with served() as (_, client), opened(client, 17) as made:
        near, far = pair(made)
        for target, interface in ((endpoint_of(made.session), Network), (made.session.hand_on(near.number), Socket)):
            labels = [
                *(each.label for name, each in interface.interface_methods.items() if name not in WAITING),
                IDENTIFY,
                CONTINUE,
                77,
                1 << 51,
            ]
            labels.remove(interface.interface_methods["close"].label)
            for _ in range(ROUNDS // 4):
                words = [chooser.choice([0, 1, 2, chooser.randrange(1 << 64)]) for _ in range(chooser.randrange(121))]
                words[3:4] = [0] * len(words[3:4])  # a time limit, where there is one
                answer = target.call(Message(chooser.choice(labels), tuple(words)), timeout=5)
                assert answer.label in set(Outcome)
        assert far.getsockname()
