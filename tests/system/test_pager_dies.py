"""Pagers die while they hold faults: the threads go on with what they had, or their task ends and says why."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest

from tests.system.supervisor import ROOT, Supervisor
from tests.system.test_kernel_restart import Kernel
from tests.system.test_reincarnation import pid

SYSTEM = """
[system]
name = "pager_dies"
paths = ["{root}"]

[machine]
ram = "512M"

{reincarnation}

[task.store]
image = "tests.system.images.store"
pool = "1M"
[task.store.provides]
object = "libsel4py.interfaces.memory_object:MemoryObject"
contents = "tests.system.images.store:Contents"

[task.pager]
image = "tests.system.images.{pager}"
priority = 150
pool = "4M"
slot_bits = 12
restart = "{restart}"
provides = {{ pager = "libsel4py.interfaces.pager:PagerStatistics" }}
{more}

[task.client]
image = "tests.system.images.outliving"
pager = "pager"
paged = "64K"
threads = 7
config = {{ access = "{access}" }}

[task.watcher]
image = "tests.system.images.watching"
priority = 40
essential = true
grants = ["system-information"]
uses = {{ pager = "pager.pager" }}
config = {{ faults = {faults}, kills = {kills}, expects = "{expects}", restarts = {restarts} }}
"""
REINCARNATION = """
[task.reincarnation]
image = "servers.reincarnation.main"
priority = 250
restart = "always"
grants = ["lifecycle"]
provides = { supervision = "libsel4py.interfaces.supervision:Supervision" }
"""
SUPERVISORS = {"root": "", "reincarnation": REINCARNATION}
OBJECT = 'uses.memory = { from = "store.object", rights = "wgp" }\n'
FIRST, ALWAYS = 'config = { holds = "first" }\n', 'config = { holds = "always" }\n'
STANDBY = "standby = true\n"
ENDED = "^dead: ended$"
LOST, GONE = "lost when its pager ended", "its pager, pager, does not run"
ALL = 8


def description(folder: Path, supervisor: str, **settings: object) -> Path:
    given = {"pager": "holding_pager", "restart": "always", "access": "ordinary", "faults": ALL, "kills": "true"}
    given |= {"restarts": 1, "more": OBJECT + FIRST, "expects": ENDED}
    path = folder / "pager_dies.toml"
    path.write_text(SYSTEM.format(**{**given, "root": ROOT, "reincarnation": SUPERVISORS[supervisor], **settings}))
    return path


def ends_well(sel4py: Supervisor, path: Path) -> None:
    ended = sel4py.run("up", path)
    assert ended.status == 0, f"{ended}\n{sel4py.run('logs', '--system', 'pager_dies').output}"


@pytest.mark.parametrize("supervisor", SUPERVISORS)
@pytest.mark.parametrize("standby", ["", STANDBY])
def test_eight_threads_go_on_with_what_an_object_of_another_task_has(
    sel4py: Supervisor, tmp_path: Path, supervisor: str, standby: str
) -> None:
    """What they had written is there, and what they waited for comes from the pager's next life."""
    ends_well(sel4py, description(tmp_path, supervisor, more=OBJECT + FIRST + standby))


@pytest.mark.parametrize("supervisor", SUPERVISORS)
@pytest.mark.parametrize("kernel_too", [False, True])
def test_so_they_do_where_the_host_kills_it(
    sel4py: Supervisor, tmp_path: Path, supervisor: str, kernel_too: bool
) -> None:
    """Also where the kernel is killed with it: the next one goes on from where that was."""
    process = sel4py.start("up", description(tmp_path, supervisor, kills="false"))
    while f"holds {ALL}" not in sel4py.run("logs", "pager", "--system", "pager_dies").output:
        assert process.poll() is None
    victim, kernel = pid(sel4py, "pager"), Kernel(sel4py, "pager_dies").status()["pid"]
    os.kill(victim, signal.SIGKILL)
    if kernel_too:
        os.kill(int(str(kernel)), signal.SIGKILL)
    output, error = process.communicate()
    assert process.returncode == 0, (output, error, sel4py.run("logs", "--system", "pager_dies").output)


@pytest.mark.parametrize("supervisor", SUPERVISORS)
@pytest.mark.parametrize("standby", ["", STANDBY])
def test_what_was_lost_with_the_pager_is_no_zeroes_but_the_tasks_end(
    sel4py: Supervisor, tmp_path: Path, supervisor: str, standby: str
) -> None:
    ends_well(sel4py, description(tmp_path, supervisor, more=FIRST + standby, expects=LOST))


@pytest.mark.parametrize("supervisor", SUPERVISORS)
@pytest.mark.parametrize("restart", ["never", "always"])
def test_a_pager_that_does_not_come_back_is_its_tasks_end(
    sel4py: Supervisor, tmp_path: Path, supervisor: str, restart: str
) -> None:
    """It is not started again, or dies of each fault until it is given up."""
    if restart == "never":
        path = description(tmp_path, supervisor, restart=restart, restarts=0, expects=GONE)
    else:
        deadly = 'config = { kind = "deadly", outlived = "anew" }'
        path = description(
            tmp_path, supervisor, pager="stacked_pager", kills="false", restarts=5, more=deadly, expects=GONE
        )
    ends_well(sel4py, path)


@pytest.mark.parametrize("restart", ["never", "always"])
def test_guarded_accesses_fail_where_nobody_brings_the_memory(sel4py: Supervisor, tmp_path: Path, restart: str) -> None:
    path = description(
        tmp_path, "reincarnation", restart=restart, access="guarded", more=FIRST, restarts=int(restart == "always")
    )
    ends_well(sel4py, path)


OUTLIVED = """
[system]
name = "outlived"
paths = ["{root}"]

[machine]
ram = "512M"

[task.pager]
image = "{image}"
priority = 150
pool = "1M"
restart = "always"
config = {{ {config} }}
provides = {{ pager = "{interface}" }}

[task.client]
image = "tests.system.images.paged"
pager = "pager"
paged = "64K"
restart = "always"
provides = {{ peek = "tests.system.images.paged:Peek" }}

[task.watcher]
image = "tests.system.images.peeking"
essential = true
grants = ["system-information"]
uses = {{ peek = "client.peek" }}
"""
PAGERS = {
    "pager": ("servers.pager.main", "", "libsel4py.interfaces.pager:PagerStatistics"),
    "mapper": ("servers.mapper.main", 'owner = "client"', "libsel4py.interfaces.mapper:Mapper"),
}


@pytest.mark.parametrize("server", PAGERS)
def test_what_was_lost_is_there_for_nobody_until_the_task_begins_anew(
    sel4py: Supervisor, tmp_path: Path, server: str
) -> None:
    image, config, interface = PAGERS[server]
    path = tmp_path / "outlived.toml"
    path.write_text(OUTLIVED.format(root=ROOT, image=image, config=config, interface=interface))
    ended = sel4py.run("up", path)
    assert ended.status == 0, f"{ended}\n{sel4py.run('logs', '--system', 'outlived').output}"


MANY = """
[system]
name = "many_threads"
paths = ["{root}"]

[machine]
ram = "512M"

{reincarnation}

[task.pager]
image = "{pager}"
priority = 150
pool = "4M"
slot_bits = 12
restart = "always"
provides = {{ pager = "libsel4py.interfaces.pager:PagerStatistics" }}
{config}

[task.client]
image = "tests.system.images.paged"
pager = "pager"
paged = "64K"
threads = {threads}
restart = "always"
provides = {{ peek = "tests.system.images.paged:Peek" }}
"""
KILLS = 5


def many(supervisor: str, pager: str = "servers.pager.main", threads: int = 7, config: str = "") -> str:
    reincarnation = SUPERVISORS[supervisor]
    return MANY.format(root=ROOT, reincarnation=reincarnation, pager=pager, threads=threads, config=config)


@pytest.mark.parametrize("supervisor", SUPERVISORS)
def test_a_paged_task_of_many_threads_that_is_killed_is_started_again_once(
    sel4py: Supervisor, tmp_path: Path, supervisor: str
) -> None:
    """Its pager passes the end of each thread on; what comes late does not end the next life."""
    path = tmp_path / "many.toml"
    path.write_text(many(supervisor))
    sel4py.ok("up", path, "--detach")
    victims = {0}  # one that is not there yet
    for _ in range(KILLS):
        while not (found := {int(str(row["pid"])) for row in sel4py.rows("ps") if row["name"] == "client"} - victims):
            continue
        os.kill(max(found), signal.SIGKILL)
        victims |= found
    while not {int(str(row["pid"])) for row in sel4py.rows("ps") if row["name"] == "client"} - victims:
        continue
    told = sel4py.ok("logs", "root")
    assert told.count("it is started again") == KILLS
    assert "faulted" not in told
    assert "does not listen" not in told
    (client,) = [row for row in sel4py.rows("ps") if row["name"] == "client"]
    assert client["restarts"] == KILLS
    sel4py.ok("down")


@pytest.mark.parametrize("supervisor", SUPERVISORS)
@pytest.mark.parametrize("threads", [0, 7])
def test_the_end_of_a_task_that_its_pager_takes_along_is_told(
    sel4py: Supervisor, tmp_path: Path, supervisor: str, threads: int
) -> None:
    """The pager ends when it hears that its task has, before it has passed that on: both are started again."""
    path = tmp_path / "many.toml"
    mourning = 'config = { kind = "mourning" }'
    path.write_text(many(supervisor, "tests.system.images.stacked_pager", threads, mourning))
    sel4py.ok("up", path, "--detach")
    first = pid(sel4py, "client")
    os.kill(first, signal.SIGKILL)
    while not {int(str(row["pid"])) for row in sel4py.rows("ps") if row["name"] == "client"} - {0, first}:
        continue
    told = sel4py.ok("logs", "root")
    assert re.search("client (is|was) dead: ended with status 137: it is started again", told)
    assert "does not listen" not in told
    (client,) = [row for row in sel4py.rows("ps") if row["name"] == "client"]
    assert client["restarts"] == 1
    sel4py.ok("down")
