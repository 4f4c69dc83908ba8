"""A conformance suite for file systems: whatever serves `Directory` can run it, in a unit test or between real tasks.

    from libsel4py.testing import connect, in_background, system
    from libsel4py.testing.file_system import FILE_SYSTEM_CHECKS, Subject, check_file_system

    @pytest.mark.parametrize("name", FILE_SYSTEM_CHECKS)
    def test_it_is_a_file_system(name: str) -> None:
        with system() as made, connect(Main) as directory:
            check_file_system(Subject(directory, made.first_task, in_background), name)

Each check has a stable id and a sentence, begins with an empty subtree, and raises AssertionError with what it saw.
"""

from __future__ import annotations

from libsel4py.testing.file_system import (  # each registers its checks
    content_checks,
    name_checks,
    restart_checks,
    rights_checks,
    session_checks,
    sharing_checks,
)
from libsel4py.testing.file_system.subject import CHECKS as _CHECKS
from libsel4py.testing.file_system.subject import NEEDS_BACKGROUND, NEEDS_RESTART, Check, Client, Subject

FILE_SYSTEM_CHECKS: dict[str, Check] = dict(sorted(_CHECKS.items()))


def check_file_system(subject: Subject, *names: str) -> list[str]:
    """Run these checks, or all; returns those that were run.

    Raises:
        AssertionError: with the id and sentence of the check that failed as a note; so do other exceptions have them.
    """
    run = []
    for name in names or FILE_SYSTEM_CHECKS:
        if name in NEEDS_BACKGROUND and subject.background is None:
            continue
        if name in NEEDS_RESTART and subject.restart is None:
            continue
        subject.clear()
        try:
            FILE_SYSTEM_CHECKS[name](subject)
        except BaseException as error:
            error.add_note(FILE_SYSTEM_CHECKS[name].__doc__ or "")
            raise
        run.append(name)
    subject.clear()
    return run


__all__ = [
    "FILE_SYSTEM_CHECKS",
    "NEEDS_RESTART",
    "Client",
    "Subject",
    "check_file_system",
    "content_checks",
    "name_checks",
    "restart_checks",
    "rights_checks",
    "session_checks",
    "sharing_checks",
]
