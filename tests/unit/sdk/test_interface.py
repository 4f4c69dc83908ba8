# mypy: disable-error-code="empty-body"
"""What travels between a client stub and a server's method, and how."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import pytest

from libsel4py import (
    Endpoint,
    Interface,
    InterfaceMismatch,
    InvalidMessage,
    MessageTooLong,
    NotEnoughMemory,
    RemoteError,
    Timeout,
    UnknownMethod,
    Untyped,
    WrongAnswer,
    component,
    verify,
    with_timeout,
)
from libsel4py.abi import Syscall
from libsel4py.interface import Stub, endpoint_of, find_interface, fingerprint, method, oneway
from libsel4py.testing import TestSystem, connect, in_background, send_signal
from libsel4py.testing.fake_objects import FakeEndpoint, FakeUntyped
from tests.unit.sdk.services import Colour, Middle, OutOfPaint, Painter, Point, Shape, Studio


@pytest.fixture
def studio(fake: TestSystem, painter: Painter) -> Iterator[Studio]:
    with connect(painter, signals=("bell",)) as client:
        yield client


def test_a_client_is_the_interface_itself(studio: Studio) -> None:
    assert type(studio) is Studio
    assert inspect.signature(Studio.rotate).parameters["by"].default == 1
    assert Studio.add.__doc__ == "Registers."


@pytest.mark.parametrize("value", [0, 1, -1, 2**63 - 1, -(2**63)])
def test_signed_integers_travel_in_registers(studio: Studio, fake: TestSystem, value: int) -> None:
    fake.kernel.system_calls.clear()
    assert studio.add(value, 0) == value
    assert fake.kernel.system_calls == [Syscall.CALL, Syscall.NB_RECV, Syscall.SEND]


@pytest.mark.parametrize("value", [0, 1, 2**63, 2**64 - 1])
def test_words_are_unsigned(studio: Studio, value: int) -> None:
    assert studio.rotate(value, 0) == value


def test_keyword_and_default_parameters(studio: Studio) -> None:
    assert studio.rotate(1) == 2
    assert studio.rotate(value=1, by=2) == 4
    assert studio.rotate(1, left=False) == 1 << 63
    with pytest.raises(TypeError):
        studio.rotate(1, 2, True)  # type: ignore[call-arg]


def test_bools_none_and_more_than_four_numbers(studio: Studio) -> None:
    assert studio.is_small(3) is True
    assert studio.is_small(30) is False
    assert studio.nothing() is None  # type: ignore[func-returns-value]  # that it returns None is what is tested
    assert studio.five(1, 2, 3, 4, 5) == 120
    assert studio.add_three(1, 2, 3) == 6


def test_overflow_is_refused_before_anything_is_sent(studio: Studio, fake: TestSystem) -> None:
    fake.kernel.system_calls.clear()
    with pytest.raises(ValueError, match=r"Studio.add: b is 9223372036854775808.*annotate it with Word"):
        studio.add(0, 1 << 63)
    with pytest.raises(ValueError, match=r"value is -1, which does not fit 0\.\."):
        studio.rotate(-1)
    with pytest.raises(TypeError):
        studio.add("1", 2)  # type: ignore[arg-type]
    with pytest.raises(MessageTooLong, match="2004 bytes packed; a message holds 952"):
        studio.echo(bytes(2000))
    assert fake.kernel.system_calls == []


def test_a_result_that_does_not_fit_is_the_clients_error(studio: Studio) -> None:
    with pytest.raises(RemoteError, match=r"ValueError at the server.*does not fit"):
        studio.add(1 << 62, 1 << 62)


def test_structured_types_are_decoded_as_annotated(studio: Studio) -> None:
    shape = Shape([Point(1, -2), Point(3, 4)], Colour.RED)
    assert studio.paint(shape, Colour.BLUE) == Shape(shape.points, Colour.BLUE, "painted")
    assert studio.paint(Shape([], Colour.RED), Colour.RED) is None
    with pytest.raises(InvalidMessage, match="Expected `int`, got `str`"):
        studio.paint(Shape([Point("1", 2)], Colour.RED), Colour.RED)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [0, 1, 21, 22, 23, 24, 29, 30, 255, 256, 944, 948])
def test_bytes_of_all_lengths_come_back(studio: Studio, size: int) -> None:
    data = bytes(index % 251 for index in range(size))
    assert studio.echo(data) == data


@pytest.mark.parametrize("times", [0, 10, 90, 100, 1000, 50_000])
def test_long_results_come_in_pieces(studio: Studio, times: int) -> None:
    assert studio.repeat("0123456789", times) == ["0123456789"] * times


def test_too_long_results_are_errors_with_advice(studio: Studio) -> None:
    with pytest.raises(Exception, match="a long result may have 1048576"):
        studio.repeat("0123456789", 100_000)


def test_exceptions_arrive_typed(studio: Studio) -> None:
    with pytest.raises(FileNotFoundError) as missing:
        studio.fail("declared")
    assert missing.value.args == (2, "no such colour")
    with pytest.raises(OutOfPaint) as paint:
        studio.fail("service")
    assert (paint.value.args, paint.value.litres) == (("red", 3), 3)
    with pytest.raises(NotEnoughMemory) as memory:
        studio.fail("kernel")
    assert memory.value.bytes_left == 48
    assert str(memory.value) == (
        "Untyped.retype: the untyped has 48 bytes left, which is not enough (the client's pool is full)"
    )


def test_undeclared_exceptions_are_remote_errors_and_logged(studio: Studio, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(RemoteError) as caught:
        studio.fail("else")
    assert (caught.value.type_name, caught.value.message) == ("KeyError", "'else'")
    assert "Studio.fail, called by test, raised" in caplog.text
    assert "Traceback" in caplog.text
    assert "KeyError: 'else'" in caplog.text
    with pytest.raises(RemoteError, match="RuntimeError at the server: xxx"):
        studio.fail("huge")
    with pytest.raises(RemoteError, match="RecursionError"):
        studio.fail("recursion")
    assert studio.add(1, 2) == 3


def test_oneway_methods_return_without_answer(studio: Studio, painter: Painter) -> None:
    studio.note("one")
    studio.note("bad")
    studio.note("two")
    assert painter.notes == ["one", "two"]


def test_capability_parameters_arrive_in_fresh_slots(studio: Studio, painter: Painter, fake: TestSystem) -> None:
    mine = Untyped(fake.new(FakeUntyped(12)))
    assert studio.lend(mine, 5) == 5
    assert studio.lend(mine, 6) == 6
    first, second = painter.pools
    assert len({first.cptr, second.cptr, mine.cptr}) == 3
    held = fake.kernel.objects.caps
    assert held[first.cptr].object is held[second.cptr].object is held[mine.cptr].object
    assert studio.lend_named("a", mine) == "a: a pool"
    assert studio.lend_named("b", None) == "b: nothing"


def test_a_method_that_raises_does_not_keep_the_capability(studio: Studio, fake: TestSystem) -> None:
    mine = Untyped(fake.new(FakeUntyped(12)))
    studio.lend(mine, 1)
    before, free = set(fake.kernel.objects.caps), fake.slots.free_count
    for _ in range(3):
        with pytest.raises(OutOfPaint):
            studio.lend(mine, -1)
    assert set(fake.kernel.objects.caps) == before
    assert fake.slots.free_count >= free


def test_wrong_capability_arguments_are_refused_here(studio: Studio) -> None:
    with pytest.raises(TypeError, match="pool must be a Untyped, not Endpoint"):
        studio.lend(Endpoint(3), 1)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="pool must be a Untyped, not NoneType"):
        studio.lend(None, 1)  # type: ignore[arg-type]


def test_results_can_be_capabilities(studio: Studio, painter: Painter, fake: TestSystem) -> None:
    target = fake.new(FakeEndpoint(), badge=5)
    painter.open = lambda name: Endpoint(target)  # type: ignore[method-assign]
    with connect(painter) as again:
        one, two = again.open("x"), again.open("x")
    assert one != two
    assert fake.kernel.objects.caps[one.cptr].object is fake.kernel.objects.caps[target].object
    description, endpoint, number = studio.open_described("")
    assert (description, endpoint, number) == ("", None, 7)


def test_a_missing_result_capability_is_an_error(studio: Studio) -> None:
    with pytest.raises(InvalidMessage, match="must come with one Endpoint capability, and 0 came") as refused:
        studio.open("nobody put one there")
    assert not isinstance(refused.value, WrongAnswer)  # which others may have brought about


def test_the_caller_is_known_by_badge_and_name(studio: Studio, painter: Painter) -> None:
    assert studio.who() == (1, "test")
    with pytest.raises(RuntimeError, match="nobody is calling"):
        _ = painter.caller


def test_replies_can_be_deferred(studio: Studio, painter: Painter) -> None:
    calls = [in_background(studio.wait_for_ring, str(number)) for number in range(3)]
    painter.deferred.wait_for(lambda count: count == 3)
    send_signal("bell")
    assert [call.result(10) for call in calls] == ["ring 1 for test"] * 3
    assert painter.waiting == []


def test_a_deferring_method_that_raises_answers_with_that(studio: Studio, painter: Painter) -> None:
    with pytest.raises(RemoteError, match="changed my mind"):
        studio.wait_for_ring("bad")
    with pytest.raises(RuntimeError, match="is answered already"):
        painter.waiting.pop().complete("late")


def test_a_time_limit_withdraws_the_call(studio: Studio) -> None:
    impatient = with_timeout(studio, 0.0)
    with pytest.raises(Timeout, match=r"Studio.wait_silently was not answered within 0.0 s"):
        impatient.wait_silently()
    assert studio.add(1, 1) == 2


def test_servers_may_be_clients(fake: TestSystem, painter: Painter) -> None:
    with connect(Middle, uses={"studio": painter}) as middle:
        assert middle.add_twice(4) == 29


def test_identity_is_checked_on_request(studio: Studio) -> None:
    verify(studio)

    class Other(Interface):
        def add(self, a: int, b: int) -> int: ...

    with pytest.raises(InterfaceMismatch, match=r"the client speaks Other .* the server Studio"):
        verify(Other(endpoint_of(studio)))


def _interface(function: Any) -> type[Interface]:
    made: type[Interface] = type("Sample", (Interface,), {"one": function, "__module__": __name__})
    return made


def test_fingerprints_follow_what_matters() -> None:
    def plain(self: Any, value: int) -> None:
        """Documentation is no part of it."""

    def same(self: Any, value: int) -> None: ...

    def other_name(self: Any, number: int) -> None: ...

    def other_type(self: Any, value: Shape) -> None: ...

    def other_result(self: Any, value: int) -> int: ...

    def one_way(self: Any, value: int) -> None: ...

    first = fingerprint(_interface(plain))
    assert fingerprint(_interface(same)) == first
    others = [fingerprint(_interface(each)) for each in (other_name, other_type, other_result, oneway(one_way))]
    others.append(fingerprint(_interface(method(label=9)(same))))
    assert len({first, *others}) == 6


def test_unknown_methods_are_named(fake: TestSystem, studio: Studio) -> None:
    class Longer(Studio, interface=True):
        def extra(self) -> int: ...

    assert Longer.interface_methods["extra"].label > Studio.interface_methods["who"].label
    longer: Longer = Longer(endpoint_of(studio))
    assert longer.add(1, 2) == 3
    with pytest.raises(UnknownMethod, match="Studio has no method with label"):
        longer.extra()


def _stub_of(cls: type[Stub], endpoint: Endpoint) -> Stub:
    return cls(endpoint)


def test_no_client_calls_what_the_sdk_calls() -> None:
    class Kitchen(Interface):
        def prepare(self) -> None: ...

    class Cook(Kitchen):
        def prepare(self) -> None: ...

    with pytest.raises(TypeError, match=r"Kitchen.prepare is called like what the SDK calls by itself"):
        component(Cook)


def test_clients_and_implementations_are_told_apart() -> None:
    with pytest.raises(TypeError, match=r"Studio is an interface: Studio\(endpoint\) is its client"):
        Studio()
    with pytest.raises(TypeError, match="only the interface itself is a client"):
        type("Plain", (Studio,), {})(Endpoint(1))
    with pytest.raises(TypeError, match=r"implement it in a subclass"):
        component(Studio)
    with pytest.raises(TypeError, match=r"Half does not implement Studio.add"):
        component(type("Half", (Studio,), {"__module__": __name__}))
    assert _stub_of(Studio, Endpoint(3)).__repr__() == "<Studio at Endpoint(3)>"


def test_interfaces_are_found_by_name() -> None:
    assert find_interface("tests.unit.sdk.services:Studio") is Studio
    assert find_interface("libsel4py.interfaces.clock:Clock").__name__ == "Clock"
    for missing in ("Nowhere", "no.such.module:Thing", "libsel4py.abi:Thing"):
        with pytest.raises(LookupError):
            find_interface(missing)
