"""What a boot image expects to fail. pytest has the same, and takes a quarter of a second of each boot to load."""

from __future__ import annotations

import re
from types import TracebackType
from typing import Generic, TypeVar

Expected = TypeVar("Expected", bound=BaseException)


class failing_with(Generic[Expected]):
    """A block that is to raise one of these, with a text in which ``match`` is found: AssertionError if it does not.

    Attributes:
        value: what it has raised.
    """

    value: Expected

    def __init__(self, expected: type[Expected] | tuple[type[Expected], ...], match: str = "") -> None:
        self._expected, self._match = expected, match

    def __enter__(self) -> failing_with[Expected]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        assert error is not None, f"{self._expected} was not raised"
        if not isinstance(error, self._expected):
            return False
        assert re.search(self._match, str(error)), f"{str(error)!r} has nothing of {self._match!r}"
        self.value = error
        return True
