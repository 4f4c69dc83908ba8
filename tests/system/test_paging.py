"""Real processes whose memory is paged by real pagers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.system.supervisor import ROOT, Supervisor

PROVIDES = 'provides = { pager = "libsel4py.interfaces.pager:PagerStatistics" }'
SYSTEM = """
[system]
name = "paging"
paths = ["{root}"]

[machine]
ram = "512M"

{pagers}

[task.client]
image = "tests.system.images.paging"
memory = "128M"
essential = true
pager = "pager"
paged = "{paged}"
restart = "{restart}"
config = {{ scene = "{scene}" }}
uses = {{ pager = "pager.pager"{uses} }}
"""


def pager(name: str, config: str, image: str = "tests.system.images.stacked_pager", more: str = "") -> str:
    return f"""
[task.{name}]
image = "{image}"
priority = 150
pool = "4M"
slot_bits = 12
config = {{ {config} }}
{PROVIDES}
{more}
"""


OTHER = """
[task.other]
image = "tests.system.images.paged"
pager = "pager"
paged = "64K"
provides = { peek = "tests.system.images.paged:Peek" }
"""
STORE = """
[task.store]
image = "tests.system.images.store"
pool = "1M"
[task.store.provides]
object = "libsel4py.interfaces.memory_object:MemoryObject"
contents = "tests.system.images.store:Contents"
"""
SERVER = "servers.pager.main"
BELOW = 'pager = "{}"\npaged = "64K"'
SCENES = {
    "demand": (pager("pager", "", SERVER), "1M", ""),
    "arrays": (pager("pager", "", SERVER), "1M", ""),
    "contents": (pager("pager", 'contents = "hello"', SERVER), "64K", ""),
    "outside": (pager("pager", "", SERVER), "64K", ""),
    "forked": (pager("pager", 'kind = "fork", contents = "hello"') + OTHER, "64K", ', other = "other.peek"'),
    "again": (pager("pager", 'contents = "hello"', SERVER) + OTHER, "64K", ', other = "other.peek"'),
    "written_back": (
        STORE + pager("pager", "", SERVER, 'uses.memory = { from = "store.object", rights = "wgp" }') + OTHER,
        "64K",
        ', other = "other.peek", store = "store.contents"',
    ),
    **{
        scene: (
            STORE + pager("pager", "", SERVER, 'uses.memory = { from = "store.object", rights = "wgp" }'),
            "64K",
            ', store = "store.contents"',
        )
        for scene in ("cached", "kept", "taken_over")
    },
    "nil": (pager("pager", 'kind = "nil", contents = "hello"'), "64K", ""),
    "deadly": (pager("pager", 'kind = "deadly"'), "64K", ""),
    "stacked": (
        pager("deep", 'contents = "hello"', SERVER)
        + pager("middle", 'kind = "below"', more=BELOW.format("deep"))
        + pager("pager", 'kind = "below"', more=BELOW.format("middle")),
        "64K",
        "",
    ),
}


@pytest.mark.parametrize("scene", SCENES)
def test_memory_is_paged(sel4py: Supervisor, tmp_path: Path, scene: str) -> None:
    pagers, paged, uses = SCENES[scene]
    restart = "on-failure" if scene in ("again", "cached", "kept") else "never"
    description = tmp_path / "paging.toml"
    description.write_text(
        SYSTEM.format(root=ROOT, pagers=pagers, scene=scene, paged=paged, uses=uses, restart=restart)
    )
    ended = sel4py.run("up", description)
    logs = "" if not ended.status else sel4py.run("logs", "--system", "paging").output
    assert ended.status == 0, f"{ended}\n{logs}"
