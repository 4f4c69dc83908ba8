"""Real processes that lay out their memory by windows, and send it out of line."""

from __future__ import annotations

from pathlib import Path

import pytest

from libsel4py.environment import PAGED_ADDRESS
from libsel4py.pager import PATIENCE
from tests.system.supervisor import ROOT, Supervisor

SHORT_PATIENCE = 1.0  # seconds, of a pager some of whose objects never answer

SYSTEM = """
[system]
name = "windows"
paths = ["{root}"]

[machine]
ram = "512M"

[task.windows]
image = "servers.windows.main"
priority = 150
pool = "4M"
slot_bits = 12
config = {{ patience = {patience} }}
[task.windows.provides]
windows = "libsel4py.interfaces.windows:Windows"
pager = "libsel4py.interfaces.pager:PagerStatistics"

[task.store]
image = "tests.system.images.store"
pool = "1M"
[task.store.provides]
object = "libsel4py.interfaces.memory_object:MemoryObject"
contents = "tests.system.images.store:Contents"

[task.taker]
image = "tests.system.images.windowed"
pager = "windows"
paged = "64K"
restart = "always"
provides = {{ taker = "tests.system.images.windowed:Taker" }}
uses = {{ windows = {{ from = "windows.windows", rights = "wgp" }} }}

[task.client]
image = "tests.system.images.windowing"
essential = true
pager = "windows"
paged = "512K"
grants = ["system-information"]
config = {{ scene = "{scene}" }}
[task.client.uses]
windows = {{ from = "windows.windows", rights = "wgp" }}
pager = "windows.pager"
taker = {{ from = "taker.taker", rights = "wgp" }}
object = {{ from = "store.object", rights = "wgp" }}
store = "store.contents"
"""


def boot(sel4py: Supervisor, folder: Path, scene: str, patience: float = PATIENCE) -> tuple[int, str]:
    """The system's exit status, and what its tasks have written where it is not 0."""
    description = folder / "windows.toml"
    description.write_text(SYSTEM.format(root=ROOT, scene=scene, patience=patience))
    ended = sel4py.run("up", description)
    logs = "" if not ended.status else sel4py.run("logs", "--system", "windows").output
    return ended.status, f"{ended}\n{logs}"


@pytest.mark.parametrize("scene", ["layout", "shown"])
def test_REF02_a_task_lays_out_its_memory_by_windows(sel4py: Supervisor, tmp_path: Path, scene: str) -> None:
    status, text = boot(sel4py, tmp_path, scene)
    assert status == 0, text


def test_REF02_an_access_outside_of_all_windows_is_the_processs_fault(sel4py: Supervisor, tmp_path: Path) -> None:
    status, text = boot(sel4py, tmp_path, "stray")
    assert status != 0
    assert f"client: no memory at {PAGED_ADDRESS:#x} (instruction 0x" in text  # the pager
    assert "an essential task has ended" in text  # root


@pytest.mark.parametrize("scene", ["silent", "silent_provider"])
def test_a_task_whose_objects_do_not_answer_shows_no_more_of_them_and_others_go_on(
    sel4py: Supervisor, tmp_path: Path, scene: str
) -> None:
    status, text = boot(sel4py, tmp_path, scene, SHORT_PATIENCE)
    assert status == 0, text


def test_who_provides_what_a_window_shows_learns_nothing_else_and_the_server_is_nobodys_deputy(
    sel4py: Supervisor, tmp_path: Path
) -> None:
    status, text = boot(sel4py, tmp_path, "hostile")
    assert status == 0, text


@pytest.mark.parametrize("scene", ["sent", "bounded", "copied"])
def test_MACH09_memory_is_sent_out_of_line(sel4py: Supervisor, tmp_path: Path, scene: str) -> None:
    status, text = boot(sel4py, tmp_path, scene)
    assert status == 0, text
