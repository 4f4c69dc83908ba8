"""What conformance suites have in common: checks by their ids, one after the other, and refusals that are expected.

A check is a function of what is examined. Its docstring begins with its stable id; it raises AssertionError.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

Subject = TypeVar("Subject")


def by_id(checks: Sequence[Callable[[Subject], None]]) -> dict[str, Callable[[Subject], None]]:
    """Checks by the first words of their docstrings."""
    return {(check.__doc__ or "").split()[0]: check for check in checks}


def run_all(checks: Mapping[str, Callable[[Subject], None]], subject: Subject) -> None:
    """Run them. Raises AssertionError, with the id and sentence of the check that failed as a note."""
    for check in checks.values():
        try:
            check(subject)
        except AssertionError as error:
            error.add_note(check.__doc__ or "")
            raise


def refused(kind: type[Exception] | tuple[type[Exception], ...], what: str, act: Callable[[], object]) -> None:
    """The act must raise this. Raises AssertionError."""
    try:
        act()
    except kind:
        return
    except Exception as error:
        raise AssertionError(f"{what} raised {type(error).__name__}: {error}") from error
    wanted = kind.__name__ if isinstance(kind, type) else " or ".join(each.__name__ for each in kind)
    raise AssertionError(f"{what} was not refused with {wanted}")
