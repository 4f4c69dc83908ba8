# mypy: disable-error-code="empty-body"
"""Mistakes in an interface that are found when its class is made."""

from __future__ import annotations

from typing import Any

import pytest

from libsel4py import (
    Endpoint,
    Interface,
    Untyped,
)
from libsel4py.interface import borrows, long_result, method, oneway


class _Unknown:
    pass


def _two_capabilities(self: Interface, a: Untyped, b: Untyped) -> None: ...
def _two_results(self: Interface) -> tuple[Untyped, Endpoint]: ...
def _inside(self: Interface, pools: list[Untyped]) -> None: ...
def _no_annotation(self: Interface, a) -> None: ...  # type: ignore[no-untyped-def]
def _no_result(self: Interface, a: int): ...  # type: ignore[no-untyped-def]
def _star(self: Interface, *a: int) -> None: ...
def _strange(self: Interface, a: _Unknown) -> None: ...
def _undefined(self: Interface, a: Undefined) -> None: ...  # type: ignore[name-defined]  # noqa: F821
def _no_self(a: int) -> None: ...
def _underscore(self: Interface, a_: int) -> None: ...
@oneway
def _oneway_result(self: Interface) -> int: ...
@long_result
def _short_long(self: Interface) -> int: ...
@borrows
def _borrows_nothing(self: Interface, a: int) -> None: ...
@method(label=1 << 40)
def _large_label(self: Interface) -> int: ...


@pytest.mark.parametrize(
    ("function", "complaint"),
    [
        (_two_capabilities, r"2 capability parameters \(a, b\): seL4 gives a thread one receive slot"),
        (_two_results, "2 capability results"),
        (_inside, "holds capabilities inside of"),
        (_no_annotation, "parameter a has no annotation"),
        (_no_result, "no result annotation: write -> None"),
        (_star, r"\*a cannot travel"),
        (_strange, "which cannot travel"),
        (_undefined, "name 'Undefined' is not defined.*at module level"),
        (_no_self, "must take self first"),
        (_underscore, "ends in an underscore"),
        (_oneway_result, "is oneway but has a result"),
        (_short_long, "remove @long_result"),
        (_borrows_nothing, "borrows a capability, but takes none"),
        (_large_label, "label 1099511627776 is not in 1"),
    ],
)
def test_bad_interfaces_are_refused_when_their_class_is_made(function: Any, complaint: str) -> None:
    with pytest.raises(TypeError, match=complaint):
        type("Bad", (Interface,), {"broken": function, "__module__": __name__})


def test_labels_and_names_must_be_free() -> None:
    def first(self: Any) -> None: ...

    def second(self: Any) -> None: ...

    with pytest.raises(TypeError, match=r"Bad.b and Bad.a both have label 3"):
        type("Bad", (Interface,), {"a": method(label=3)(first), "b": method(label=3)(second)})
    with pytest.raises(TypeError, match=r"Bad.start: components keep this name for themselves"):
        type("Bad", (Interface,), {"start": second})
