"""Calls and answers of numbers and bytes: the machine's functions against the same by words (`ByteMessages`)."""

from collections.abc import Sequence
from typing import Any

import pytest

from hw import cpu
from libsel4py import abi
from libsel4py.abi import VALUE_KIND_BITS, Status, ValueKind
from libsel4py.testing.byte_messages import ByteMessages
from tests.unit.channel_peer import CALLED, ENDPOINT, REPLY, bind, listen, pair, receive

FOREVER = -1
MOST = (abi.MESSAGE_MAX_LENGTH - 1) * abi.WORD_BYTES
SIZES = (0, 1, 23, 24, 25, 31, 32, 33, 477, MOST - 1, MOST)


class ByWords(ByteMessages):
    """The machine, but for the functions in question."""

    message_write = staticmethod(cpu.message_write)
    message_read = staticmethod(cpu.message_read)
    call = staticmethod(cpu.call)
    reply_recv = staticmethod(cpu.reply_recv)


def shape(*kinds: ValueKind) -> int:
    return sum(kind << VALUE_KIND_BITS * place for place, kind in enumerate(kinds))


def answering(replies: Sequence[tuple[int, ...]]) -> Any:
    """A server that gives these answers (info, then words) in turn; returns the requests."""
    listen()
    requests = [receive()[2:]]
    for reply in replies[:-1]:
        words = [*reply[1:], 0, 0, 0, 0][:4]
        requests.append(cpu.reply_recv(ENDPOINT, reply[0], *words, REPLY)[2:])
    cpu.reply_recv(ENDPOINT, *[*replies[-1], 0, 0, 0, 0][:5], REPLY, 0)
    return requests


REPLIES = [
    (abi.message_info(0, 0),),
    (abi.message_info(0, 1), 0),
    (abi.message_info(0, 1), 5),
    (abi.message_info(0, 1), 2**63),
    (abi.message_info(0, 1), 2**64 - 1),
    (abi.message_info(0, 2), 8, 0x4142434445464748),
    (abi.message_info(0, 2), 9, 0x4142434445464748),  # claims more bytes than its words hold
    (abi.message_info(0, 2), 2**64 - 1, 1),
    (abi.message_info(0, 6), 1, 0x41),
    (abi.message_info(0x100, 1), 5),
    (abi.message_info(3, 0),),
]


def test_a_call_gives_the_value_of_a_plain_reply_and_the_completion_of_any_other() -> None:
    info = abi.message_info(9, 2)

    def client() -> Any:
        bind()
        found = []
        for kind in ValueKind:
            form = shape(kind, ValueKind.SIGNED, ValueKind.WORD)
            for machine in (cpu, ByWords()):
                found.append([machine.call_numbers(CALLED, info, form, FOREVER, -5, 2**64 - 5) for _ in REPLIES])
        return found

    with pair() as scene:
        server = scene.task(lambda: answering(REPLIES * 2 * len(ValueKind)))
        caller = scene.task(client)
        scene.connect(caller, server)
        scene.serve_until(caller)
        found = caller.task.result()
        assert found[::2] == found[1::2]
        by_kind = dict(zip(ValueKind, found[::2], strict=True))
        assert by_kind[ValueKind.SIGNED][1:5] == [0, 5, -(2**63), -1]
        assert by_kind[ValueKind.WORD][1:5] == [0, 5, 2**63, 2**64 - 1]
        assert by_kind[ValueKind.TRUTH][1:5] == [False, True, True, True]
        assert by_kind[ValueKind.NOTHING][0] == 0
        assert by_kind[ValueKind.BYTES][5] == b"HGFEDCBA"
        assert by_kind[ValueKind.BYTES][6] == (Status.DONE, 0, abi.message_info(0, 2), 9, 0x4142434445464748, 0, 0)
        for values in by_kind.values():
            assert values[9][2:4] == (abi.message_info(0x100, 1), 5)
        assert set(server.task.result()) == {(info, 2**64 - 5, 2**64 - 5, 0, 0)}


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 1.5, "1", None])
def test_a_number_that_does_not_fit_a_signed_word_is_not_sent(number: Any) -> None:
    assert not_sent(ValueKind.SIGNED, number)


@pytest.mark.parametrize("number", [-1, 2**64, 1.5, "1", None])
def test_a_number_that_does_not_fit_a_word_is_not_sent(number: Any) -> None:
    assert not_sent(ValueKind.WORD, number)


def not_sent(kind: ValueKind, number: Any) -> bool:
    def client() -> Any:
        bind()
        form = shape(ValueKind.NOTHING, kind)
        machines = (cpu, ByWords())
        values = [machine.call_numbers(CALLED, 1, form, FOREVER, number) for machine in machines]
        values += [machine.call_bytes(CALLED, 1, ValueKind.NOTHING, FOREVER, bytes(MOST + 1)) for machine in machines]
        return values == [None] * 4 and cpu.channel_statistics()[0] == 0

    with pair() as scene:
        caller = scene.task(client)
        scene.connect(caller, scene.task(listen))
        scene.serve_until(caller)
        assert not caller.entries
        return bool(caller.task.result())


def test_bytes_of_all_lengths_there_and_back() -> None:
    """Every combination of who packs and unpacks in one step, and who by words."""
    messages = [bytes(n % 251 for n in range(1, size + 1)) for size in SIZES]

    def server() -> Any:
        listen()
        received = [(cpu.message_get(*receive()[2:]))]
        for number in range(1, 4 * len(SIZES)):
            machine = (cpu, ByWords())[number // 2 % 2]
            _, _, info, first, *rest = machine.answer_recv(ENDPOINT, received[-1], REPLY)
            whole = isinstance(first, bytes)
            assert whole == (info & 127 > 4)
            received.append(first if whole else cpu.message_get(info, first, *rest))
        cpu.reply_recv(ENDPOINT, *cpu.message_put(0, received[-1]), REPLY, 0)
        return received

    def client() -> Any:
        bind()
        return [
            (cpu, ByWords())[number % 2].call_bytes(CALLED, abi.message_info(7), ValueKind.BYTES, FOREVER, message)
            for message in messages
            for number in range(4)
        ]

    with pair() as scene:
        serving, caller = scene.task(server), scene.task(client)
        scene.connect(caller, serving)
        scene.serve_until(caller)
        expected = [message for message in messages for _ in range(4)]
        assert caller.task.result() == expected
        assert serving.task.result() == expected


def test_requests_of_bytes_and_of_words_by_turns() -> None:
    """What is given out again for the next request shows nothing of the last one."""
    long, words = bytes(range(100)), abi.message_info(1, 2)
    faultlike = abi.message_info(5, 5)  # more than four words, and no message of bytes

    def server() -> Any:
        listen()
        receive()
        found = [cpu.answer_recv(ENDPOINT, -1, REPLY)[2:] for _ in range(5)]
        cpu.reply_recv(ENDPOINT, 0, 0, 0, 0, 0, REPLY, 0)
        return found

    def client() -> Any:
        bind()
        answers = [cpu.call(CALLED, words, 0, 7, 0, 0)]
        for _ in range(2):
            answers.append(cpu.call_bytes(CALLED, abi.message_info(1), ValueKind.SIGNED, FOREVER, long))
            answers.append(cpu.call(CALLED, words, 0, 7, 0, 0))
        answers.append(cpu.call(CALLED, faultlike, 3, 7, 8, 9))
        return answers

    with pair() as scene:
        serving, caller = scene.task(server), scene.task(client)
        scene.connect(caller, serving)
        scene.serve_until(caller)
        by_words = (Status.DONE, 0, 1, 2**64 - 1, 0, 0, 0)
        assert caller.task.result() == [by_words, -1, by_words, -1, by_words, (Status.DONE, 0, 0, 0, 0, 0, 0)]
        by_bytes, by_word = (abi.message_info(1, 14), long, 0, 0, 0), (words, 0, 7, 0, 0)
        assert serving.task.result() == [by_bytes, by_word, by_bytes, by_word, (faultlike, 3, 7, 8, 9)]


@pytest.mark.parametrize("answer", [2**63, -(2**63) - 1, 1.5, None, bytes(MOST + 1), (1, 2, 3), (0, 0, 0, 0, -1)])
def test_what_is_no_answer_is_not_sent(answer: Any) -> None:
    def server() -> Any:
        listen()
        receive()
        with pytest.raises((TypeError, OverflowError)):
            cpu.answer_recv(ENDPOINT, answer, REPLY)
        return cpu.reply_recv(ENDPOINT, 1, 6, 0, 0, 0, REPLY, 0)[0] == Status.CANCELLED

    def client() -> Any:
        bind()
        return cpu.call(CALLED, 0, 0, 0, 0, 0)

    with pair() as scene:
        serving, caller = scene.task(server), scene.task(client)
        scene.connect(caller, serving)
        scene.serve_until(caller)
        assert caller.task.result() == (Status.DONE, 0, 1, 6, 0, 0, 0)
        assert serving.task.result()
