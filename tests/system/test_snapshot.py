"""A system that is suspended goes on where it was: what was acknowledged, and who may do what; or nothing happens."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from deploy.management import Management
from tests.system.supervisor import ROOT, Supervisor

SYSTEM = """
[system]
name = "lasting"
paths = ["{root}"]

[task.counter]
image = "tests.system.images.counting"
restart = "always"
slot_bits = 7
state = "16K"
{more}
provides = {{ counter = "tests.system.images.counting:Counter" }}

[task.client]
image = "tests.system.images.counting_through"
essential = true
state = "16K"
uses = {{ counter = "counter.counter" }}
config = {{ lives = {lives} }}
"""


def up(sel4py: Supervisor, folder: Path, lives: int, more: str = "") -> None:
    description = folder / "lasting.toml"
    description.write_text(SYSTEM.format(root=ROOT, lives=lives, more=more))
    sel4py.ok("up", description, "--detach")
    wait_counting(sel4py, 1)


def wait_counting(sel4py: Supervisor, life: int) -> None:
    while f"life {life} counts" not in (log := sel4py.run("logs", "client").output):
        assert "Wrong" not in log, log


def pids(sel4py: Supervisor) -> dict[str, int]:
    """Of the processes, by the names of their threads."""
    with Management(sel4py.folder / "lasting") as management:
        rows: list[dict[str, object]] = management.request("ps")  # type: ignore[assignment]  # rows of plain values
    return {str(row["name"]): int(str(row["pid"])) for row in rows if row["state"] != "ENDING" and row["pid"]}


def held_by_root(sel4py: Supervisor, *arguments: str | Path) -> object:
    return next(row["capabilities"] for row in sel4py.rows("inspect", "cspace", *arguments) if row["root_of"] == "root")


def test_what_was_acknowledged_is_there_when_the_system_goes_on(sel4py: Supervisor, tmp_path: Path) -> None:
    up(sel4py, tmp_path, 2)
    sel4py.ok("suspend", tmp_path / "file")
    ended = sel4py.run("resume", tmp_path / "file")
    assert ended.status == 0, ended


@pytest.mark.slow
def test_root_holds_the_same_again_and_again_and_a_failure_changes_nothing(sel4py: Supervisor, tmp_path: Path) -> None:
    file = tmp_path / "file"
    up(sel4py, tmp_path, 3)
    refused = sel4py.run("suspend", tmp_path / "none" / "file")
    assert refused.status, refused
    assert "the system goes on" in refused.error, refused
    sel4py.ok("suspend", file, "--keep-running")
    sel4py.ok("suspend", file)
    before = held_by_root(sel4py, "--image", file)
    sel4py.ok("resume", file, "--detach")
    assert held_by_root(sel4py) == before
    assert sel4py.result("fsck") == {"broken": []}
    wait_counting(sel4py, 2)
    sel4py.ok("suspend", file)
    ended = sel4py.run("resume", file)
    assert ended.status == 0, ended
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.slow
def test_a_task_goes_on_whichever_of_its_processes_served(sel4py: Supervisor, tmp_path: Path) -> None:
    """The one that stood by has taken over; so again in the system that is resumed."""
    up(sel4py, tmp_path, 3, "standby = true")
    for life in (1, 2):
        while "counter.standby" not in (now := pids(sel4py)):
            continue
        os.kill(now["counter"], signal.SIGKILL)
        while pids(sel4py).get("counter") != now["counter.standby"]:
            continue
        while (refused := sel4py.run("suspend", tmp_path / "file")).status:
            assert "is being started" in refused.error, refused  # the next one that stands by
        if life == 1:
            sel4py.ok("resume", tmp_path / "file", "--detach")
            wait_counting(sel4py, 2)
    ended = sel4py.run("resume", tmp_path / "file")
    assert ended.status == 0, ended


ON_DISK = """
[system]
name = "lasting"
paths = ["{root}"]

[machine.devices.disk0]
type = "virtio-block"
port = 0x1000
irq = 5
image = "disk.img"

[task.reincarnation]
image = "servers.reincarnation.main"
priority = 250
restart = "always"
grants = ["lifecycle"]
provides = {{ supervision = "libsel4py.interfaces.supervision:Supervision" }}

[task.block]
image = "servers.block.main"
priority = 180
restart = "always"
provides = {{ disk = "libsel4py.interfaces.block:Block" }}
devices = {{ disk = {{ device = "disk0", io_space = "4K" }} }}

[task.disk]
image = "servers.littlefs.main"
memory = "32M"
pool = "4M"
slot_bits = 11
restart = "always"
uses = {{ disk = {{ from = "block.disk", rights = "wgp" }} }}
provides = {{ root = "libsel4py.interfaces.file:Directory" }}

[task.datastore]
image = "servers.datastore.main"
restart = "always"
provides = {{ store = "libsel4py.interfaces.data_store:DataStore" }}
state = "64K"
state_slots = 4

[task.client]
image = "tests.system.images.filing_through"
memory = "32M"
pool = "1M"
essential = true
state = "16K"
restart = "on-failure"
config = {{ lives = 2 }}
uses = {{ disk = {{ from = "disk.root", rights = "wgp" }}, store = {{ from = "datastore.store", rights = "wgp" }} }}
"""


@pytest.mark.slow
def test_what_was_acknowledged_stands_on_the_disk_and_in_the_store(sel4py: Supervisor, tmp_path: Path) -> None:
    """Suspended while both are written; and not resumed any more when the disk has been written to since."""
    sel4py.ok("disk", "create", tmp_path / "disk.img", "--size", "32M")
    description = tmp_path / "lasting.toml"
    description.write_text(ON_DISK.format(root=ROOT))
    sel4py.ok("up", description, "--detach")
    wait_counting(sel4py, 1)
    sel4py.ok("suspend", tmp_path / "file")
    ended = sel4py.run("resume", tmp_path / "file")
    assert ended.status == 0, ended
    refused = sel4py.run("resume", tmp_path / "file")
    assert "disk0 was changed" in refused.error, refused
    assert sel4py.result("disk", "check", tmp_path / "disk.img")["problems"] == []  # type: ignore[index]  # a table


@pytest.mark.slow
def test_a_task_that_has_nothing_to_go_on_from_is_named_and_nothing_is_saved(
    sel4py: Supervisor, tmp_path: Path
) -> None:
    sel4py.ok("up", "minimal", "--detach")
    refused = sel4py.run("suspend", tmp_path / "file")
    assert refused.status, refused
    assert "shell: no restart point" in refused.error
    assert "--force" in refused.error
    assert not (tmp_path / "file").exists()
    sel4py.ok("down")
