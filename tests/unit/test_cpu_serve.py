"""The machine's server loop: what it carries out by itself, and what it brings back, and how."""

import os
import struct
from array import array
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from hw import cpu
from libsel4py import abi
from libsel4py.abi import Served, Status, ValueKind
from libsel4py.results import shape_of
from tests.unit.channel_peer import BADGE, CALLED, ENDPOINT, NUMBER, REPLY, bind, listen, pair

SIGNED, WORD, TRUTH, NOTHING = ValueKind.SIGNED, ValueKind.WORD, ValueKind.TRUTH, ValueKind.NOTHING
ADD, ECHO, UNKNOWN = 1, 2, 9
LAST = abi.message_info(UNKNOWN)  # nothing that a server knows: it ends its loop


class Odd(int):
    """A number that is none to the machine."""


def refuse(*_: object) -> Any:
    raise ValueError("not this way")


def entry(
    method: Callable[..., Any] | None = None,
    result: ValueKind = SIGNED,
    arguments: tuple[ValueKind, ...] = (),
    *,
    label: int = ADD,
    handle: Callable[..., Any] = refuse,
    pack: Callable[[Any], Any] = refuse,
) -> Any:
    info = abi.message_info(label, len(arguments))
    numbers = None if method is None else (method, info, shape_of(result, arguments))
    return SimpleNamespace(handle=handle, pack=pack, numbers=numbers)


def server_of(table: dict[int, Any], badge: int = BADGE) -> Any:
    connection = SimpleNamespace(caller="the client", provided=SimpleNamespace(table=table))
    return SimpleNamespace(connections={badge: connection}, changes=array("Q", (0,)))


def serve(server: Any, answer: Any = None, loop: Any = None, receive: Any = None) -> tuple[int, Any, int]:
    return cpu.serve(ENDPOINT, answer, REPLY, loop or SimpleNamespace(), server, receive)


def end() -> None:
    """Answer the last request, and receive no other."""
    cpu.reply_recv(ENDPOINT, 0, 0, 0, 0, 0, REPLY, 0)


def played(server: Callable[[], Any], client: Callable[[], Any]) -> tuple[Any, Any]:
    """What both return."""

    def listening() -> Any:
        listen()
        found = server()
        end()
        return found

    def calling() -> Any:
        bind()
        return client()

    with pair() as scene:
        serving, caller = scene.task(listening), scene.task(calling)
        scene.connect(caller, serving)
        scene.serve_until(caller)
        return serving.task.result(), caller.task.result()


def call(label: int, *words: int) -> tuple[int, ...]:
    """Status, info, and words of the answer."""
    status, _, *rest = cpu.call(CALLED, abi.message_info(label, len(words)), *[*words, 0, 0, 0, 0][:4])
    return status, *rest


@pytest.mark.parametrize(
    ("kind", "word", "value"),
    [
        (SIGNED, 5, 5),
        (SIGNED, 2**64 - 1, -1),
        (SIGNED, 2**63, -(2**63)),
        (WORD, 2**63 - 1, 2**63 - 1),
        (TRUTH, 1, True),
        (TRUTH, 0, False),
    ],
)
def test_a_number_comes_as_it_is_declared_and_goes_back_so(kind: ValueKind, word: int, value: int | bool) -> None:
    def server() -> Any:
        seen: list[Any] = []

        def method(first: Any, second: Any, third: Any, fourth: Any) -> Any:
            seen.append((first, second, third, fourth))
            return fourth

        loop = SimpleNamespace()
        found = serve(server_of({ADD: entry(method, kind, (SIGNED, WORD, TRUTH, kind))}), loop=loop)
        return seen, found, loop.caller, loop.entry.numbers[1]

    (seen, found, caller, info), answers = played(
        server, lambda: [call(ADD, 2**64 - 7, 2**64 - 7, 7, word), call(ADD, 0, 0, 0, word), call(UNKNOWN)]
    )
    assert seen == [(-7, 2**64 - 7, True, value), (0, 0, False, value)]
    assert type(seen[0][3]) is type(value)
    assert answers[:2] == [(Status.DONE, 1, word, 0, 0, 0)] * 2
    assert found == (Served.REQUEST, (Status.DONE, BADGE, LAST, 0, 0, 0, 0), 0)
    assert (caller, info) == ("the client", abi.message_info(ADD, 4))


def test_what_is_no_plain_result_is_packed() -> None:
    results = [Odd(3), 2**63, -(2**63) - 1, 1.5, None]

    def server() -> Any:
        packed: list[Any] = []

        def pack(result: Any) -> Any:
            packed.append(result)
            return [(1, 44, 0, 0, 0), b"bytes", 45, (0, 0, 0, 0, 0), -1][len(packed) - 1]

        serve(server_of({ADD: entry(results.__getitem__, WORD, (WORD,), pack=pack)}))
        return packed

    packed, answers = played(server, lambda: [*(call(ADD, number) for number in range(len(results))), call(UNKNOWN)])
    assert packed == results
    assert type(packed[0]) is Odd
    assert [answer[1:3] for answer in answers[:5]] == [(1, 44), (2, 5), (1, 45), (0, 0), (1, 2**64 - 1)]


def test_a_result_of_nothing_answers_with_no_word() -> None:
    _, answers = played(lambda: serve(server_of({ADD: entry(lambda: 5, NOTHING)})), lambda: [call(ADD), call(UNKNOWN)])
    assert answers[0] == (Status.DONE, 0, 0, 0, 0, 0)


@pytest.mark.parametrize("words", [(), (1,), (1, 2, 3)])
def test_a_message_of_another_length_is_for_the_handler(words: tuple[int, ...]) -> None:
    def server() -> Any:
        seen: list[Any] = []

        def handle(*request: Any) -> Any:
            seen.append(request)
            return 6

        serve(server_of({ADD: entry(refuse, SIGNED, (SIGNED, SIGNED), handle=handle)}))
        return seen

    seen, answers = played(server, lambda: [call(ADD, *words), call(UNKNOWN)])
    assert seen == [(abi.message_info(ADD, len(words)), *[*words, 0, 0, 0, 0][:4])]
    assert answers[0][1:3] == (1, 6)


@pytest.mark.parametrize("size", [0, 24, 25, 31, 32, 33, 952])
def test_bytes_go_to_the_handler_and_back(size: int) -> None:
    data = bytes(n % 251 for n in range(size))

    def server() -> Any:
        def handle(info: int, m0: Any, m1: int, m2: int, m3: int) -> Any:
            return m0 if isinstance(m0, bytes) else cpu.message_get(info, m0, m1, m2, m3)

        return serve(server_of({ECHO: entry(handle=handle)}))[0]

    def client() -> Any:
        echoes = [cpu.call_bytes(CALLED, abi.message_info(ECHO), ValueKind.BYTES, -1, data) for _ in range(3)]
        call(UNKNOWN)
        return echoes

    served, echoes = played(server, client)
    assert served == Served.REQUEST
    assert echoes == [data] * 3


def test_a_stranger_and_a_client_that_is_forgotten_meanwhile_are_brought_back() -> None:
    def server() -> Any:
        first = serve(server_of({ADD: entry(lambda: 1)}, badge=BADGE + 1))
        known = server_of({ADD: entry(lambda: known.connections.clear() or 2)})
        return first, serve(known, (0, 0, 0, 0, 0))

    (stranger, forgotten), answers = played(server, lambda: [call(ADD), call(ADD), call(ADD)])
    assert stranger == forgotten == (Served.REQUEST, (Status.DONE, BADGE, abi.message_info(ADD), 0, 0, 0, 0), 0)
    assert answers[1][1:3] == (1, 2)


def test_another_who_has_the_badge_now_is_served_by_his_table() -> None:
    def server() -> Any:
        other = server_of({ADD: entry(lambda: 2)})
        other.connections[BADGE].caller = "another"
        known = server_of({ADD: entry(lambda: known.connections.update(other.connections) or 1)})
        loop = SimpleNamespace()
        serve(known, loop=loop)
        return loop.caller

    caller, answers = played(server, lambda: [call(ADD), call(ADD), call(UNKNOWN)])
    assert [answer[2] for answer in answers[:2]] == [1, 2]
    assert caller == "another"


def test_what_a_method_raises_is_brought_back_with_its_request() -> None:
    def server() -> Any:
        known = server_of({ADD: entry(refuse, SIGNED, (SIGNED,)), ECHO: entry(handle=refuse)})
        outcomes = [serve(known)]
        outcomes.append(serve(known, 7))
        outcomes.append(serve(known, 8))
        return [
            (served, str(value), info, value.__traceback__.tb_frame.f_code.co_name)
            for served, value, info in outcomes[:2]
        ], outcomes[2][0]

    (outcomes, last), answers = played(server, lambda: [call(ADD, 3), call(ECHO), call(UNKNOWN)])
    assert outcomes == [
        (Served.RAISED, "not this way", abi.message_info(ADD, 1), "refuse"),
        (Served.RAISED, "not this way", abi.message_info(ECHO), "refuse"),
    ]
    assert last == Served.REQUEST
    assert [answer[2] for answer in answers[:2]] == [7, 8]


@pytest.mark.parametrize("first", [b"of the one, for nobody else" * 9, (1, 2**64 - 3, 2**63 + 5, 2**63 + 6, 2**63 + 7)])
@pytest.mark.parametrize("then", [6, (1, 6, 0, 0, 0), None])
def test_an_answer_shows_nothing_of_the_one_before_to_another_client(first: Any, then: Any) -> None:
    """Who reads his page for himself sees all words of a message, also those that it does not have."""
    asked, looked = os.eventfd(0), os.eventfd(0)

    def server() -> None:
        listen()
        table = {
            ECHO: entry(handle=lambda *_: first),
            ADD: entry(lambda: 6) if then is None else entry(handle=lambda *_: then),
        }
        known = server_of(table)
        known.connections[BADGE + 1] = known.connections[BADGE]
        serve(known)
        end()

    def asks() -> None:
        bind()
        call(ECHO)
        os.eventfd_write(asked, 1)
        os.eventfd_read(looked)
        call(UNKNOWN)

    def looks() -> Any:
        bind(NUMBER + 1)
        os.eventfd_read(asked)
        answer = call(ADD)
        os.eventfd_write(looked, 1)
        return answer

    with pair() as scene:
        serving, one, other = scene.task(server), scene.task(asks), scene.task(looks)
        scene.connect(one, serving)
        page = scene.connect(other, serving, number=NUMBER + 1, badge=BADGE + 1)
        scene.serve_until(one, other)
        assert other.task.result()[1:3] == (1, 6)
        seen = os.pread(page, abi.CHANNEL_BYTES, 0)
    os.close(asked)
    os.close(looked)
    words = struct.pack("<3Q", *first[2:]) if isinstance(first, tuple) else first[:24]
    assert not [n for n in range(0, 24, 8) if words[n : n + 8] in seen]


def test_what_is_to_end_the_program_ends_the_loop() -> None:
    def server() -> Any:
        def leave() -> None:
            raise SystemExit(3)

        with pytest.raises(SystemExit):
            serve(server_of({ADD: entry(leave)}))

    played(server, lambda: call(ADD))


@pytest.mark.parametrize("packs", [False, True])
def test_an_answer_is_brought_back_where_something_has_changed(packs: bool) -> None:
    """Whom it serves, a slot that is not ready any more, or an answer that is put off."""

    def server() -> Any:
        receive = SimpleNamespace(slot=4)
        result, made = (None, b"packed") if packs else (5, (1, 5, 0, 0, 0))

        def changes() -> Any:
            known.changes[0] += 1
            return result

        def takes() -> Any:
            receive.slot = None
            return result

        def detaches() -> Any:
            return result, handles.append(cpu.detach())

        handles: list[int] = []
        known = server_of(
            {
                1: entry(changes, label=1, pack=lambda _: made),
                2: entry(takes, label=2, pack=lambda _: made),
                3: entry(lambda: detaches()[0], label=3, pack=lambda _: made),
            }
        )
        found = [serve(known, receive=receive)]
        found.append(serve(known, found[-1][1], receive=receive))
        receive.slot = 4
        found.append(serve(known, found[-1][1], receive=receive))
        assert cpu.answer(handles[0], 1, 77, 0, 0, 0)
        found.append(serve(known, receive=receive))
        return [value == made for served, value, _ in found[:3] if served == Served.ANSWER], found[3][0]

    (same, last), answers = played(server, lambda: [call(1), call(2), call(3), call(UNKNOWN)])
    assert same == [True] * 3
    assert last == Served.REQUEST
    assert [answer[2] for answer in answers[:3]] == ([6, 6, 77] if packs else [5, 5, 77])


def test_other_threads_have_a_turn_where_a_method_runs_no_bytecode() -> None:
    def server() -> Any:
        known, answer, served = server_of({ADD: entry(abs, SIGNED, (SIGNED,))}), None, []
        while not served or served[-1] == Served.ANSWER:
            outcome, answer, _ = serve(known, answer)
            served.append(outcome)
        return served

    served, answers = played(server, lambda: [*(call(ADD, number) for number in range(150)), call(UNKNOWN)])
    assert served == [Served.ANSWER, Served.ANSWER, Served.REQUEST]
    assert [answer[2] for answer in answers[:150]] == list(range(150))


@pytest.mark.parametrize("answer", [2**63, 1.5, (1, 2, 3), bytes(953)])
def test_what_a_handler_answers_wrongly_is_not_sent(answer: Any) -> None:
    def server() -> Any:
        with pytest.raises((TypeError, OverflowError)):
            serve(server_of({ECHO: entry(handle=lambda *_: answer)}))
        with pytest.raises((TypeError, OverflowError)):
            serve(server_of({}), answer)

    _, answered = played(server, lambda: call(ECHO))
    assert answered == (Status.DONE, 0, 0, 0, 0, 0)


@pytest.mark.parametrize(
    "server",
    [
        SimpleNamespace(),
        SimpleNamespace(connections={}),
        SimpleNamespace(connections={}, changes=0),
        SimpleNamespace(connections={}, changes=b"short"),
        SimpleNamespace(connections=[], changes=array("Q", (0,))),
    ],
)
def test_what_is_no_server_is_refused(server: Any) -> None:
    def refused() -> None:
        with pytest.raises((TypeError, AttributeError)):
            serve(server)
        with pytest.raises(TypeError):
            cpu.serve(ENDPOINT, None, REPLY)  # type: ignore[call-arg]

    def client() -> None:
        bind()

    with pair() as scene:
        serving = scene.task(lambda: (listen(), refused()))
        scene.connect(scene.task(client), serving)
        scene.serve_until(serving)
        assert serving.task.result() == (None, None)
