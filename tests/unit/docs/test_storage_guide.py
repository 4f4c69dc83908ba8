"""The examples of the guide to disks do what they say, on a disk in memory."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from libsel4py.dataspace import DataSpace
from libsel4py.interfaces.block import Block
from libsel4py.testing import run
from libsel4py.testing.ram_disk import Flush, RamDisk, Write

GUIDE = Path(__file__).parents[3] / "docs" / "guide" / "storage.md"
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", GUIDE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
CLIENT, POWER_LOSS = EXAMPLES[:2]


def _run(example: str, **names: Any) -> dict[str, Any]:
    found = {"__name__": __name__, **names}
    exec(compile(example, str(GUIDE), "exec", dont_inherit=True), found)
    return found


def test_a_client_reads_writes_and_flushes() -> None:
    disk = RamDisk()
    assert run(_run(CLIENT)["Main"], uses={"disk": disk}) == 0
    assert disk.contents[8 * 512 :].startswith(b"hello")
    assert len(disk.events) == 1 + 32 + 1
    assert disk.events[-1] == Flush()


def test_the_power_is_cut_behind_each_event() -> None:
    seen = []

    def write_files(client: Block) -> None:
        with DataSpace.allocate(4096) as space:
            space.attach().write(0, b"\1" * 1024)
            buffer = client.attach(space.share())
            client.write(buffer, 0, 3, 1)
            client.flush()
            client.write(buffer, 0, 9, 1)
            client.detach(buffer)

    found = _run(POWER_LOSS, write_files=write_files, check=lambda image: seen.append(image.count(1)))
    assert seen == [0, 512, 512, 1024]
    assert [type(each) for each in found["disk"].events] == [Write, Flush, Write]
