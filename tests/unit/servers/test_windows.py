"""The server of memory windows: what is left of a task that has ended."""

from __future__ import annotations

from libsel4py.environment import PAGED_ADDRESS, Paged
from libsel4py.interface import endpoint_of
from libsel4py.interfaces.windows import MemoryWindow, Windows
from libsel4py.pagers.anonymous import Anonymous
from libsel4py.task import as_task
from libsel4py.testing import connect, system
from libsel4py.testing.memory_object import fake_frames
from servers.windows.main import Main

PAGE = 4096


class Served(Main):
    """The server of one task's memory."""

    def start(self) -> None:
        vspace = self.task.slots.allocate()
        self.task.environment.paged["test"] = Paged(vspace, {}, 16 * PAGE)
        super().start()


def test_a_task_that_has_ended_has_no_windows_whatever_the_objects_that_it_showed_say() -> None:
    """Their server may be gone: then what was mapped cannot even be said to be used no more."""
    main = Served()
    with (
        system() as made,
        connect(main, interface=Windows) as windows,
        connect(Anonymous(fake_frames(made), PAGE)) as shown,
    ):
        own, other = (MemoryWindow(windows.create(PAGED_ADDRESS + at * PAGE, PAGE)) for at in (0, 1))
        own.show(endpoint_of(shown), 0, True)
        other.zero()
        made.first_task.cnode.revoke(endpoint_of(shown).cptr)
        with as_task(main.task):
            main._renew(main._by_name["test"])
        assert main._by_name["test"].regions == ()
        windows.create(PAGED_ADDRESS, 2 * PAGE)
