"""Complaining of a server that answers wrongly, to the reincarnation server.

    block = Complainer(self.complaints, "block")

    life = block.life()  # before the call
    data = self.disk.read(sector)
    if checksum(data) != expected:
        block.complain(life, f"sector {sector} has another checksum")

Where the description says ``complains = true`` of a connection, the SDK does so at each call whose answer does not
decode (`WrongAnswer`). Rules: what was wrong is raised in any case, and a complaint that cannot be made is a line in
the log, `HEARD_SECONDS` later at most: who hears them may hang. The life is asked for once, and told with each ruling:
the first wrong answer of a later life is a late complaint, the second one is not.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any, Final, TypeVar

from libsel4py.errors import KernelError, RemoteError, ServerDied, ServiceError, Timeout, WrongAnswer
from libsel4py.interface import Interface, is_declaration, with_timeout
from libsel4py.interfaces.complaints import Complaints, Verdict
from libsel4py.signature import Word

UNKNOWN: Final = 0  # no life's number
HEARD_SECONDS: Final = 5.0
_UNHEARD: Final = (KernelError, RemoteError, ServerDied, ServiceError, Timeout)
_log: Final = logging.getLogger(__name__)
Stub = TypeVar("Stub", bound=Interface)


class Complainer:
    """Complains of one task. Several threads may use it.

    Args:
        complaints: the reincarnation server. task: whom it is about, which the description must permit.
    """

    def __init__(self, complaints: Complaints, task: str) -> None:
        is_client = is_declaration(type(complaints))  # and no implementation in its place, as tests have it
        self._complaints = with_timeout(complaints, HEARD_SECONDS) if is_client else complaints
        self._task = task
        self._life = Word(UNKNOWN)
        self._has_asked = False

    def life(self) -> Word:
        """The task's life, as it was told last; what is to be asked for before a call. `UNKNOWN` where nobody tells."""
        if not self._has_asked:
            self._has_asked = True
            try:
                self._life = self._complaints.life(self._task)
            except _UNHEARD as error:
                _log.warning("nobody says which life of %s serves: %s", self._task, error)
        return self._life

    def complain(self, life: Word, why: str) -> Verdict | None:
        """That life has answered wrongly. Returns what has become of that; None if it was not heard."""
        try:
            ruling = self._complaints.complain(self._task, life, why)
        except _UNHEARD as error:
            _log.warning("the complaint of %s was not heard: %s", self._task, error)
            return None
        self._life = Word(ruling.life)
        _log.warning("complained of %s, life %d (%s): %s", self._task, life, ruling.verdict.value, why)
        return ruling.verdict


def judge(stub: Stub, complainer: Complainer) -> Stub:
    """Let each answer to a client be judged, and to those that are made of it. Returns it."""
    stub.__class__ = _judged_class(type(stub))  # type: ignore[assignment]  # a subclass
    stub._complainer = complainer  # type: ignore[attr-defined]  # read by the methods of that class alone
    return stub


_judged_classes: Final[dict[type[Interface], type[Interface]]] = {}


def _judged_class(cls: type[Interface]) -> type[Interface]:
    """The same interface, whose methods complain."""
    if cls not in _judged_classes:
        methods: dict[str, Any] = {name: _judged(getattr(cls, name)) for name in cls.interface_methods}
        _judged_classes[cls] = type(cls.__name__, (cls,), {**methods, "interface_methods": cls.interface_methods})
    return _judged_classes[cls]


def _judged(call: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(call)
    def judged(self: Any, *arguments: Any, **keywords: Any) -> Any:
        life = self._complainer.life()
        try:
            return call(self, *arguments, **keywords)
        except WrongAnswer as error:
            self._complainer.complain(life, str(error))
            raise

    return judged
