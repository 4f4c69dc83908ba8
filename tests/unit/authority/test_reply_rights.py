"""What a description gains by reply objects that do not grant: more that is certain never to happen, with nobody
believed."""

from __future__ import annotations

import msgspec
import pytest

from deploy.authority import sources
from deploy.authority.questions import Analysis, Verb
from deploy.description import SYSTEMS, load
from libsel4py.abi import Rights
from libsel4py.description import System, Task

GRANTING = Rights.WRITE | Rights.GRANT


def changed(system: System, **fields: object) -> System:
    """The system, with other fields of those tasks whose answers carry nothing."""

    def change(task: Task) -> Task:
        return task if task.reply_rights & Rights.GRANT else msgspec.structs.replace(task, **fields)

    return msgspec.structs.replace(system, tasks=tuple(map(change, system.tasks)))


def ways(system: System) -> int:
    return sum(map(len, Analysis(sources.described(system), (), system).matrix().values()))


@pytest.mark.parametrize("name", ["minimal", "workstation", "exercise", "two-nodes/alpha"])
def test_shipped_systems_can_do_less_than_if_all_replies_granted(name: str) -> None:
    system = load(SYSTEMS / f"{name}.toml").system
    assert ways(system) < ways(changed(system, reply_rights=int(GRANTING)))


def test_the_right_alone_is_nothing_where_memory_makes_another_reply_object() -> None:
    system = load(SYSTEMS / "minimal.toml").system
    assert ways(changed(system, pool=1 << 16)) == ways(changed(system, reply_rights=int(GRANTING)))


def test_a_client_of_a_server_that_answers_words_gains_nothing_by_calling() -> None:
    system = load(SYSTEMS / "workstation.toml").system
    analysis = Analysis(sources.described(system), (), system)
    assert not analysis.can("ping", Verb.REACH, "shell").yes
    assert not analysis.can("shell", Verb.REACH, "serial").yes
    assert analysis.can("ping", Verb.INFORM, "shell").yes, "by pong, whom both call"
